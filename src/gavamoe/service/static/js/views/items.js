// The items: search, and the profile of one.

import { at, get, getKept } from "../api.js";
import { bars, mixtures } from "../charts.js";
import { card, h, notice, put, skeleton } from "../dom.js";
import * as format from "../format.js";
import { go, link } from "../route.js";

const SHOWN = 50;
const PAUSE_MS = 150;

export const name = "Items";

export function create() {
  const field = h("input", { id: "item-search", type: "search", autocomplete: "off", spellcheck: "false", placeholder: "title or id" });
  const found = h("div", { class: "results" });
  const profile = h("div", { class: "profile" });
  const heading = h("h1", { tabindex: "-1" }, "Items");
  const body = h(
    "div",
    { class: "master" },
    h("div", { class: "master-list" }, h("div", { class: "field" }, h("label", { for: "item-search" }, "Search items"), field), found),
    profile,
  );
  const element = h("div", {}, heading, body);
  let searching = new AbortController();
  let reading = new AbortController();
  let timer = 0;
  let shownFor = null;
  let current = "";
  let latest = null;

  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => go(link("items", { q: field.value.trim() }, current), true), PAUSE_MS);
  });

  const again = () => update(latest);

  async function update(route) {
    const { id, params } = (latest = route);
    const q = params.q ?? (id && shownFor !== null ? shownFor : "");
    current = id;
    body.classList.toggle("has-profile", Boolean(id));
    if (document.activeElement !== field) field.value = q;
    await Promise.all([search(q), show(id)]);
  }

  async function search(q) {
    searching.abort();
    if (q === shownFor) return mark();
    searching = new AbortController();
    if (shownFor === null) put(found, skeleton(6));
    try {
      const { items } = await get(`v1/items?${new URLSearchParams({ prefix: q, limit: String(SHOWN) })}`, searching.signal);
      shownFor = q;
      put(found, items.length ? list(items, q) : h("p", { class: "empty" }, `No item's title or id begins with “${q}”.`));
      mark();
    } catch (error) {
      if (error.name === "AbortError") return;
      shownFor = null; // so that a return to the query before asks again
      put(found, notice(error.message, { kind: "error", retry: again }));
    }
  }

  function mark() {
    for (const row of found.querySelectorAll("a[data-item]")) {
      if (row.dataset.item === current) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
  }

  async function show(id) {
    reading.abort();
    reading = new AbortController();
    if (!id) return put(profile, h("p", { class: "empty" }, "Choose an item to see who rates it and what they speak of."));
    put(profile, skeleton(6));
    try {
      const [item, { clusters }] = await Promise.all([get(at("items", id), reading.signal), getKept("v1/clusters")]);
      return put(profile, itemProfile(item, clusters));
    } catch (error) {
      if (error.name === "AbortError") return null;
      return put(profile, notice(error.message, { kind: "error", retry: again }));
    }
  }

  return {
    element,
    update,
    destroy() {
      clearTimeout(timer);
      searching.abort();
      reading.abort();
    },
  };
}

function list(items, q) {
  return [
    h("p", { class: "note" }, q ? `${format.plural(items.length, "item")}${items.length === SHOWN ? " or more" : ""}` : "The most reviewed items"),
    h(
      "ul",
      { class: "rows" },
      items.map((item) =>
        h(
          "li",
          {},
          h(
            "a",
            { href: link("items", { q }, item.item), "data-item": item.item },
            h("span", { class: "row-title" }, format.title(item), item.title && h("span", { class: "id" }, item.item)),
            h("span", { class: "row-count" }, format.plural(item.reviews, "review")),
            h("span", { class: "row-rating" }, h("span", { class: "hidden" }, "mean rating "), format.rating(item.mean_rating)),
          ),
        ),
      ),
    ),
  ];
}

function itemProfile(item, clusters) {
  const part = card(format.title(item), { name: "profile" });
  if (!item.known) {
    put(part.body, h("p", { class: "empty" }, "The training data hold no review of this item. The model can still explain it, as an unknown item."), actions(item));
    return part;
  }
  const rows = (item.features ?? []).slice(0, 10).map(({ feature, count }) => ({ text: feature, value: count, shown: format.count(count) }));
  put(
    part.body,
    h(
      "p",
      { class: "byline" },
      [item.title && item.item, (item.categories ?? []).join(", "), format.plural(item.reviews, "review"), `mean rating ${format.rating(item.mean_rating)}`]
        .filter(Boolean)
        .map((text) => h("span", {}, text)),
    ),
    item.description && h("p", {}, item.description),
    actions(item),
    item.clusters?.length > 0 && [h("h3", {}, "Who reviews it"), mixtures([{ name: "Its reviews", shares: item.clusters }], clusters)],
    h("h3", {}, "What reviews speak of"),
    rows.length ? bars(rows, { label: "Features by number of reviews" }) : h("p", { class: "empty" }, "No feature was found in its reviews."),
  );
  return part;
}

const actions = ({ item }) =>
  h(
    "p",
    { class: "actions" },
    h("a", { class: "button", href: link("explain", { item }) }, "Explain it to someone"),
    h("a", { class: "button", href: link("compare", { item }) }, "Compare two users"),
    h("a", { class: "back", href: link("items") }, "All items"),
  );

