// One user: who they are to the model, what they rated, what it would recommend.

import { at, get, getKept } from "../api.js";
import { mixtures } from "../charts.js";
import { card, h, notice, put, skeleton } from "../dom.js";
import * as format from "../format.js";
import { recommendations } from "../recommendations.js";
import { explainLink, itemLink, link } from "../route.js";

const SHOWN = 30;

export const name = "User";

export function create() {
  const heading = h("h1", { tabindex: "-1" });
  const stage = h("div", { class: "stage" });
  const element = h("div", {}, heading, stage);
  let controller = new AbortController();

  async function update({ id }) {
    controller.abort();
    controller = new AbortController();
    const { signal } = controller;
    put(heading, h("span", { class: "kicker" }, "User "), id);
    put(stage, skeleton(6));
    try {
      const [user, { clusters }, run] = await Promise.all([get(at("users", id), signal), getKept("v1/clusters"), getKept("v1/run")]);
      const picks = card("What the model would recommend", { note: "Ranked by predicted rating." });
      put(stage, profile(user, clusters, picks));
      await recommendations(picks.body, id, run.scale, signal);
    } catch (error) {
      if (error.name !== "AbortError") put(stage, notice(error.message, { kind: "error", retry: () => update({ id }) }));
    }
  }

  return { element, update, destroy: () => controller.abort() };
}

function profile(user, clusters, picks) {
  const about = user.known
    ? `${format.plural(user.reviews, "review")} in the training data, mean rating ${format.rating(user.mean_rating)}.`
    : "The training data hold no review by this user. The model treats them as an unknown user.";
  const taste = card("Taste", { note: "Mean over the user's pairs." });
  put(taste.body, user.clusters?.length ? mixtures([{ name: user.user, shares: user.clusters }], clusters) : h("p", { class: "empty" }, "Without a review there is no taste to show."));
  return [
    h("p", { class: "lead" }, about),
    h("p", { class: "actions" }, h("a", { class: "button", href: link("explain", { user: user.user }) }, "Recommend and explain"), h("a", { class: "button", href: link("compare", { a: user.user }) }, "Compare with another user")),
    h("div", { class: "two" }, h("div", {}, taste, picks), historyCard(user)),
  ];
}

function historyCard({ user, history }) {
  const part = card("What they rated", { note: history?.length > SHOWN ? `The first ${SHOWN} of ${format.count(history.length)}.` : null });
  if (!history?.length) {
    put(part.body, h("p", { class: "empty" }, "Nothing yet."));
    return part;
  }
  put(
    part.body,
    h(
      "ul",
      { class: "rows" },
      history.slice(0, SHOWN).map((row) =>
        h(
          "li",
          { class: "row" },
          h("span", { class: "row-title" }, h("a", { href: itemLink(row.item) }, format.title(row)), row.title && h("span", { class: "id" }, row.item)),
          h("span", { class: "row-rating" }, h("span", { class: "hidden" }, "rated "), format.given(row.rating)),
          h("a", { href: explainLink(user, row.item) }, "Why?", h("span", { class: "hidden" }, ` ${format.title(row)}`)),
        ),
      ),
    ),
  );
  return part;
}
