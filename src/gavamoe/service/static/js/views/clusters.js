// Who the clusters are: size, what they like, how they write, typical users.

import { getKept } from "../api.js";
import { bars, stack } from "../charts.js";
import { card, h, notice, put, skeleton } from "../dom.js";
import * as format from "../format.js";
import { latentMap } from "../map.js";
import { clusterLink, link, userLink } from "../route.js";

const WORDS = 6;

export const name = "Clusters";

export function create() {
  const heading = h("h1", { tabindex: "-1" }, "Clusters of taste");
  const stage = h("div", { class: "stage" });
  const element = h("div", {}, heading, stage);

  async function update({ id }) {
    put(heading, id ? `Cluster ${id}` : "Clusters of taste");
    put(stage, skeleton(6));
    try {
      const [{ clusters }, map] = await Promise.all([getKept("v1/clusters"), getKept("v1/map").catch(() => null)]);
      if (!clusters.length) return put(stage, h("p", { class: "empty" }, "This run assigned no pair to a cluster."));
      if (!id) return put(stage, overview(clusters, map));
      const found = clusters.find((cluster) => String(cluster.cluster) === id);
      if (!found)
        return put(stage, notice(`There is no cluster ${id} in this run.`), h("p", {}, h("a", { href: link("clusters") }, "All clusters")));
      return put(stage, detail(found, clusters, map));
    } catch (error) {
      return put(stage, notice(error.message, { kind: "error", retry: () => update({ id }) }));
    }
  }

  return { element, update, destroy() {} };
}

function overview(clusters, map) {
  const sizes = clusters.map((cluster) => `cluster ${cluster.cluster}: ${format.percent(cluster.share)}`).join(", ");
  return [
    h(
      "p",
      { class: "lead" },
      "Stage 1 sorts each pair of a user and an item into a cluster, from ratings alone. In stage 2 each cluster has its own gate to the experts, so one model writes differently for different tastes.",
    ),
    h(
      "div",
      { class: "beside" },
      h("div", {}, stack(clusters, `Sizes: ${sizes}`), clusters.map(clusterCard)),
      map?.points.length > 0 && mapCard(map, [], clusters),
    ),
  ];
}

function mapCard(map, marks, clusters) {
  const part = card("The latent map", { name: "map" });
  put(part.body, latentMap(map, marks, clusters));
  return part;
}

function clusterCard(cluster) {
  const part = card(`Cluster ${cluster.cluster}`, { name: "cluster" });
  part.style.setProperty("--hue", format.hue(cluster.cluster));
  put(part.querySelector("h2"), h("a", { href: clusterLink(cluster.cluster) }, `Cluster ${cluster.cluster}`));
  put(
    part.body,
    h(
      "div",
      {},
      h("p", { class: "big" }, h("strong", {}, format.percent(cluster.share)), ` of the pairs, ${format.plural(cluster.users, "user")}`),
      facts(cluster),
      people(cluster),
    ),
    h("div", {}, voice(cluster, WORDS)),
  );
  return part;
}

function detail(cluster, clusters, map) {
  const part = card("Who they are", { name: "cluster" });
  part.style.setProperty("--hue", format.hue(cluster.cluster));
  put(
    part.body,
    h("p", { class: "big" }, h("strong", {}, format.percent(cluster.share)), ` of the pairs: ${format.plural(cluster.pairs, "pair")} of ${format.plural(cluster.users, "user")}`),
    facts(cluster),
    people(cluster),
  );
  const writing = card("How they write", { name: "voice" });
  put(writing.body, voice(cluster, 20) || h("p", { class: "empty" }, "No word of this cluster stands out from the others."));
  return [
    h("p", { class: "up" }, h("a", { href: link("clusters") }, "All clusters")),
    h("div", { class: "two" }, h("div", {}, part, writing), map?.points.length > 0 && mapCard(map, [{ cluster: cluster.cluster, name: "" }], clusters)),
  ];
}

function facts({ rating, above, features, genres, likes, dislikes, length }) {
  const rows = [
    ["speaks of", features],
    ["reviews most", genres],
    ["likes", likes],
    ["dislikes", dislikes],
  ].map(([term, words]) => [term, (words ?? []).map(format.label).filter(Boolean).join(", ")]);
  const lean = Math.abs(above) < 0.05 ? "as everybody does" : `${format.signed(above)} against the items' means`;
  return h(
    "dl",
    { class: "facts" },
    rows.filter(([, words]) => words).map(([term, words]) => [h("dt", {}, term), h("dd", {}, words)]),
    h("dt", {}, "rates"),
    h("dd", {}, `${format.score(rating)} on average, ${lean}`),
    Number.isFinite(length) && [h("dt", {}, "writes"), h("dd", {}, `${format.rating(length)} words a text`)],
  );
}

function voice({ cluster, words }, most) {
  if (!words?.length) return null;
  const rows = words.slice(0, most).map(({ word, log_odds: z }) => ({ text: word, value: Math.max(z, 0), shown: format.signed(z) }));
  return [h("h3", {}, "Words that stand out ", h("span", { class: "note" }, "z-scores")), bars(rows, { hue: format.hue(cluster), label: "Words by z-score of their log odds against the other clusters" })];
}

function people({ typical_users: users }) {
  if (!users?.length) return null;
  return h(
    "p",
    { class: "people" },
    h("span", {}, "Typical users "),
    users.map((user, n) => [n ? ", " : "", h("a", { href: userLink(user) }, user)]),
  );
}
