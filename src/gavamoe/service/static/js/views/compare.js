// Two users on one item, side by side.

import { getKept } from "../api.js";
import { mixtures, ratingChart } from "../charts.js";
import { blank, card, h, notice, put, skeleton } from "../dom.js";
import { differenceTable, expertTable, overlap } from "../experts.js";
import * as format from "../format.js";
import { latentMap } from "../map.js";
import { itemPicker, profile, userPicker } from "../pickers.js";
import { go, link, userLink } from "../route.js";
import { textPanel } from "../text_panel.js";

export const name = "Compare";

export function create() {
  const item = itemPicker("Item");
  const left = userPicker("First user");
  const right = userPicker("Second user");
  const stage = h("div", { class: "stage" });
  const problem = h("p", { class: "form-error", role: "alert" });
  const form = h(
    "form",
    { class: "picker picker-three", "aria-label": "Pick an item and two users", onsubmit: submit },
    item.element,
    left.element,
    right.element,
    h(
      "div",
      { class: "picker-actions" },
      h("button", { type: "submit", class: "primary" }, "Compare"),
      h("button", { type: "button", onclick: swap }, "Swap"),
    ),
    problem,
  );
  const element = h("div", {}, h("h1", { tabindex: "-1" }, "Two users, one item"), form, stage);
  let controller = new AbortController();
  let panels = [];

  const address = (a, b) => link("compare", { item: item.value, a, b });

  async function submit(event) {
    event.preventDefault();
    await Promise.all([item, left, right].map((field) => field.resolve()));
    const missing = [[item, "Pick an item first."], [left, "Pick the first user."], [right, "Pick the second user."]].find(([field]) => !field.value);
    put(problem, missing?.[1]);
    if (missing) missing[0].input.focus();
    else go(address(left.value, right.value));
  }

  function swap() {
    const [a, b] = [right.value, left.value];
    left.set(a);
    right.set(b);
    if (a && b && item.value) go(address(a, b));
  }

  async function update({ params }) {
    halt();
    controller = new AbortController();
    put(problem);
    item.set(params.item);
    left.set(params.a);
    right.set(params.b);
    if (!params.item || !params.a || !params.b) {
      put(
        stage,
        h("p", { class: "lead" }, "Pick an item and two users. The model writes to each of them; what differs between the two texts is their taste."),
      );
      await offer(params, controller.signal).catch(() => {});
      return;
    }
    try {
      await show(params, controller.signal);
    } catch (error) {
      if (error.name !== "AbortError") put(stage, notice(error.message, { kind: "error", retry: () => update({ params }) }));
    }
  }

  /** Fill empty fields with typical users of two clusters and the most reviewed item: a comparison one click away. */
  async function offer(params, signal) {
    const [{ clusters }, { items }] = await Promise.all([getKept("v1/clusters"), getKept("v1/items?prefix=&limit=1")]);
    const typical = clusters.map((cluster) => cluster.typical_users?.[0]).filter(Boolean);
    const pair = [params.a || typical[0], params.b || typical[1]];
    if (signal.aborted || !pair[0] || !pair[1]) return;
    left.set(pair[0]);
    right.set(pair[1]);
    if (!params.item && items.length) item.set(items[0].item, items[0].title);
    stage.append(h("p", { class: "note" }, `For a start: ${pair[0]} and ${pair[1]} are typical users of two clusters.`));
  }

  async function show(params, signal) {
    const verdict = h("p", { class: "verdict", role: "status" });
    const map = card("Where the two pairs lie", { name: "map" });
    const routing = card("Where the routing differs", { name: "difference", note: "First user minus second, in percentage points." });
    let known = null;
    const sides = [side(params.a, refresh), side(params.b, refresh)];
    panels = sides.map(({ panel }) => panel);
    put(map.body, blank("400px"));
    put(
      stage,
      verdict,
      h("div", { class: "sides" }, sides.map(({ element: column }) => column)),
      h("div", { class: "two" }, map, routing),
    );

    function refresh() {
      const answers = sides.map(({ answer }) => answer());
      const both = answers.every(Boolean);
      const failed = sides.some((one) => one.failed());
      put(verdict, both ? summary(answers) : failed ? "" : skeleton(1));
      put(routing.body, both ? differenceOf(answers) : failed ? h("p", { class: "empty" }, "Comes with both texts.") : blank("140px"));
      if (!known) return;
      const marks = answers.filter(Boolean).map((answer) => ({ at: answer.map, cluster: answer.cluster, name: answer.user }));
      if (known.points?.points.length) put(map.body, latentMap(known.points, marks, known.clusters));
      else put(map.body, h("p", { class: "empty" }, "This run has no map of its pairs."));
    }

    refresh();
    sides.forEach(({ panel }, n) => panel.run({ user: [params.a, params.b][n], item: params.item }));
    const [run, { clusters }, points, found, ...people] = await Promise.all([
      getKept("v1/run"),
      getKept("v1/clusters"),
      getKept("v1/map").catch(() => null),
      profile("items", params.item, signal),
      profile("users", params.a, signal),
      profile("users", params.b, signal),
    ]);
    if (found?.title) {
      item.set(params.item, found.title);
      panels.forEach((panel) => panel.name(found.title));
    }
    known = { points, clusters };
    sides.forEach((one, n) => one.know({ run, clusters, person: people[n] }));
    refresh();
  }

  function halt() {
    controller.abort();
    panels.forEach((panel) => panel.stop());
    panels = [];
  }

  return { element, update, destroy: halt };
}

/** One person's column: text, rating, taste, experts; `onchange` is called when its answer comes or fails to. */
function side(user, onchange) {
  const rating = card("Predicted rating");
  const mixture = card("Taste");
  const experts = card("Experts that spoke");
  put(rating.body, blank("188px"));
  put(mixture.body, blank("100px"));
  put(experts.body, blank("140px"));
  let table = null;
  let answer = null;
  let failed = false;
  let known = null;

  function draw() {
    if (!known) return;
    if (answer) put(rating.body, ratingChart(answer, known.run.scale));
    const rows = [
      { name: "This pair", shares: answer?.responsibilities },
      { name: user, href: userLink(user), shares: known.person?.clusters },
    ];
    put(mixture.body, mixtures(rows, known.clusters));
  }

  const panel = textPanel({
    onfinal(found) {
      [answer, failed] = [found, false];
      table = found.experts?.length ? expertTable(found) : null;
      put(experts.body, table?.element ?? h("p", { class: "empty" }, "No expert spoke: this text was not written by the model just now."));
      draw();
      onchange();
    },
    onfail() {
      failed = true;
      for (const part of [rating, experts]) put(part.body, h("p", { class: "empty" }, "Comes with the text."));
      onchange();
    },
    onword: (layers) => table?.highlight(layers),
  });
  return {
    panel,
    element: h("div", { class: "side" }, panel.element, rating, mixture, experts),
    answer: () => answer,
    failed: () => failed,
    know(found) {
      known = found;
      draw();
    },
  };
}

function differenceOf([a, b]) {
  const comparable = a.experts?.length && a.experts.length === b.experts?.length;
  if (!comparable) return h("p", { class: "empty" }, "Without both texts' experts there is nothing to compare.");
  const shared = overlap(a.experts, b.experts);
  return [
    differenceTable(a, b),
    h("p", { class: "note" }, `The two texts share ${format.percent(shared)} of their routing: 100 % means that the same experts spoke equally often.`),
  ];
}

/** The difference in a sentence or two. */
function summary([a, b]) {
  const gap = Math.abs(a.rating - b.rating);
  const more = a.rating >= b.rating ? a : b;
  const less = more === a ? b : a;
  const ratings =
    gap < 0.1
      ? `The model expects about the same rating of ${a.user} and of ${b.user}: ${format.rating(a.rating)} and ${format.rating(b.rating)}.`
      : `The model expects ${more.user} to rate it ${format.rating(gap)} higher than ${less.user}: ${format.rating(more.rating)} against ${format.rating(less.rating)}.`;
  const clusters =
    a.cluster === b.cluster
      ? ` Both pairs lie in cluster ${a.cluster}.`
      : ` The pairs lie in different clusters: ${a.cluster} for ${a.user}, ${b.cluster} for ${b.user}.`;
  const features =
    a.feature && b.feature && a.feature !== b.feature
      ? ` It speaks of ${a.feature} to ${a.user} and of ${b.feature} to ${b.user}.`
      : "";
  return ratings + clusters + features;
}
