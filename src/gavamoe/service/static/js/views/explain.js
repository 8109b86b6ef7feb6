// One user and one item: the text, the rating, the clusters, the map, the experts, the evidence.

import { get, getKept } from "../api.js";
import { mixtures, ratingChart } from "../charts.js";
import { blank, card, h, notice, put, skeleton } from "../dom.js";
import { evidenceList } from "../evidence.js";
import { expertTable } from "../experts.js";
import * as format from "../format.js";
import { latentMap } from "../map.js";
import { itemPicker, profile, userPicker } from "../pickers.js";
import { recommendations } from "../recommendations.js";
import { explainLink, go, itemLink, link, userLink } from "../route.js";
import { textPanel } from "../text_panel.js";

const EXAMPLES = 3;

export const name = "Explain";

export function create() {
  const user = userPicker("User");
  const item = itemPicker("Item");
  const options = whatIf();
  const stage = h("div", { class: "stage" });
  const form = h(
    "form",
    { class: "picker", "aria-label": "Pick a user and an item", onsubmit: submit },
    user.element,
    item.element,
    h(
      "div",
      { class: "picker-actions" },
      h("button", { type: "submit", class: "primary" }, "Explain"),
      h("button", { type: "button", onclick: recommend }, "Recommend"),
    ),
    options.element,
    h("p", { class: "form-error", role: "alert" }),
  );
  const problem = form.querySelector(".form-error");
  const element = h("div", {}, h("h1", { tabindex: "-1" }, "Why would someone like this?"), form, stage);
  let controller = new AbortController();
  let panel = null;

  async function submit(event) {
    event.preventDefault();
    await Promise.all([user.resolve(), item.resolve()]);
    if (!user.value) return complain(user, "Pick a user first, or type the id of someone new.");
    if (!item.value) return complain(item, "Pick an item, or press Recommend to let the model choose.");
    put(problem);
    go(explainLink(user.value, item.value, options.values()));
  }

  function recommend() {
    if (!user.value) return complain(user, "Pick a user first: recommendations are for someone.");
    put(problem);
    go(link("explain", { user: user.value }));
  }

  function complain(field, text) {
    put(problem, text);
    field.input.focus();
  }

  async function update({ params }) {
    controller.abort();
    controller = new AbortController();
    const { signal } = controller;
    panel?.stop();
    put(problem);
    user.set(params.user);
    item.set(params.item);
    options.set(params);
    try {
      if (params.user && params.item) await showPair(params, signal);
      else if (params.user) await showRecommendations(params.user, signal);
      else await showStart(params.item, signal);
    } catch (error) {
      if (error.name !== "AbortError") put(stage, notice(error.message, { kind: "error", retry: () => update({ params }) }));
    }
  }

  async function showPair(params, signal) {
    const parts = pairLayout();
    panel = textPanel({
      onfinal: (answer) => parts.fill(answer),
      onfail: () => parts.fail(),
      onword: (layers) => parts.highlight(layers),
      onagain: () => go(explainLink(params.user, params.item, { ...params, seed: Number(params.seed || 0) + 1 })),
    });
    const found = profile("items", params.item, signal);
    put(stage, parts.around(panel.element));
    const writing = panel.run(params);
    const about = await found;
    if (about?.title) {
      item.set(params.item, about.title);
      panel.name(about.title);
    }
    const [run, clusters, map, person] = await Promise.all([
      getKept("v1/run"),
      getKept("v1/clusters").then((answer) => answer.clusters, () => []),
      getKept("v1/map").catch(() => null),
      profile("users", params.user, signal),
    ]);
    parts.know({ run, clusters, map, person, about, user: params.user, item: params.item });
    await writing;
  }

  async function showRecommendations(person, signal) {
    const list = card(`Recommended for ${person}`, { note: "Not rated yet; ranked by predicted rating." });
    const taste = card("Taste", { note: "Mean over the user's pairs." });
    put(list.body, skeleton(5));
    put(taste.body, blank("60px"));
    put(stage, h("div", { class: "pair" }, list, taste));
    const [run, about, { clusters }] = await Promise.all([getKept("v1/run"), profile("users", person, signal), getKept("v1/clusters")]);
    put(
      taste.body,
      about?.clusters?.length
        ? mixtures([{ name: person, href: userLink(person), shares: about.clusters }], clusters)
        : h("p", { class: "empty" }, "Without a review there is no taste to show."),
    );
    await recommendations(list.body, person, run.scale, signal);
  }

  async function showStart(fixed, signal) {
    const body = h("div", {}, skeleton(4));
    const map = card("What the model has learned", { name: "map" });
    put(map.body, skeleton(6));
    put(stage, h("div", { class: "two" }, h("div", {}, startText(), h("h2", {}, "Start with an example"), body), map));
    startMap(map).catch((error) => put(map.body, h("p", { class: "empty" }, error.message)));
    const [{ users }, { items }] = await Promise.all([
      get("v1/users?prefix=&limit=12", signal),
      get("v1/items?prefix=&limit=12", signal),
    ]);
    if (!users.length || !items.length) return put(body, h("p", { class: "empty" }, "This run has no users or items to choose from."));
    if (fixed) item.set(fixed, items.find((row) => row.item === fixed)?.title);
    const chosen = fixed ? items.filter((row) => row.item === fixed).concat({ item: fixed }).slice(0, 1) : items;
    const pairs = Array.from({ length: Math.min(EXAMPLES, users.length) }, (_, n) => [users[n], chosen[(n * 3) % chosen.length]]);
    put(body, h("ul", { class: "examples" }, pairs.map(([a, b]) => example(a.user, b))));
  }

  return {
    element,
    update,
    destroy() {
      controller.abort();
      panel?.stop();
    },
  };
}

async function startMap(part) {
  const [map, { clusters }] = await Promise.all([getKept("v1/map"), getKept("v1/clusters")]);
  if (map.points.length) put(part.body, latentMap(map, [], clusters));
  else put(part.body, h("p", { class: "empty" }, "This run has no map of its pairs."));
}

function startText() {
  return h(
    "p",
    { class: "lead" },
    "Pick a user and an item. The model writes why the one would like the other, and shows what it thinks while it does: ",
    "the rating it expects, the taste it recognises, the experts that speak.",
  );
}

const example = (user, item) =>
  h("li", {}, h("a", { href: explainLink(user, item.item) }, h("span", {}, "Why ", h("strong", {}, format.title(item)), " for ", h("strong", {}, user), "?"), h("span", { "aria-hidden": "true" }, "→")));

/** Rating and feature that the person sets instead of the model. */
function whatIf() {
  const rating = h("select", { id: "what-rating" }, h("option", { value: "" }, "as predicted"));
  const features = h("datalist", { id: "known-features" });
  const feature = h("input", { id: "what-feature", type: "text", list: "known-features", placeholder: "as predicted", autocomplete: "off" });
  let wanted = "";
  getKept("v1/run").then(
    (run) => {
      rating.append(...run.scale.map((value) => h("option", { value: String(value) }, format.given(value))));
      features.append(...run.features.map((word) => h("option", { value: word })));
      rating.value = wanted;
    },
    () => {},
  );
  const element = h(
    "details",
    { class: "whatif" },
    h("summary", {}, "What if the rating or the feature were another?"),
    h(
      "div",
      { class: "whatif-fields" },
      h("div", { class: "field" }, h("label", { for: "what-rating" }, "Rating"), rating),
      h("div", { class: "field" }, h("label", { for: "what-feature" }, "Feature"), feature, features),
    ),
  );
  return {
    element,
    values: () => ({ rating: rating.value, feature: feature.value.trim() }),
    set(params) {
      wanted = rating.value = params.rating ?? "";
      feature.value = params.feature ?? "";
      if (params.rating || params.feature) element.open = true;
    },
  };
}

/** The cards around the text. What the run knows comes first; what belongs to the pair comes with its answer. */
function pairLayout() {
  const rating = card("Predicted rating", { name: "rating" });
  const mixture = card("Taste", { name: "mixture", note: "Shares of the clusters." });
  const map = card("Where the pair lies", { name: "map" });
  const experts = card("Experts that spoke", { name: "experts", note: "Share of the text's routing, in per cent." });
  const evidence = card("What others wrote", { name: "evidence", note: "Sentences from training reviews of the item." });
  put(mixture.body, blank("140px"));
  put(map.body, blank("330px"));
  expect();
  let table = null;
  let answer = null;
  let known = null;

  function expect() {
    put(rating.body, blank("188px"));
    put(experts.body, blank("140px"));
    put(evidence.body, skeleton(5));
  }

  function draw() {
    if (!known) return;
    const { run, clusters, person, about } = known;
    if (answer) put(rating.body, ratingChart(answer, run.scale));
    const rows = [
      { name: "This pair", shares: answer?.responsibilities },
      { name: known.user, href: userLink(known.user), shares: person?.clusters },
      { name: about?.title || known.item, href: itemLink(known.item), shares: about?.clusters },
    ];
    put(mixture.body, mixtures(rows, clusters));
    const marks = answer ? [{ at: answer.map, cluster: answer.cluster, name: "this pair" }] : [];
    if (known.map?.points.length) put(map.body, latentMap(known.map, marks, clusters));
    else put(map.body, h("p", { class: "empty" }, "This run has no map of its pairs."));
  }

  return {
    around: (text) =>
      h(
        "div",
        { class: "pair" },
        h("div", { class: "column-main" }, text, experts, evidence),
        h("div", { class: "column-side" }, rating, mixture, map),
      ),
    know(found) {
      known = found;
      draw();
    },
    fill(found) {
      answer = found;
      table = found.experts?.length ? expertTable(found) : null;
      put(experts.body, table?.element ?? h("p", { class: "empty" }, "No expert spoke: this text was not written by the model just now."));
      put(evidence.body, evidenceList(found));
      draw();
    },
    fail() {
      for (const part of [rating, experts, evidence]) put(part.body, h("p", { class: "empty" }, "Comes with the text."));
    },
    highlight: (layers) => table?.highlight(layers),
  };
}
