// Small charts drawn with elements: the rating's distribution, mixtures of clusters, bars with words.

import { h } from "./dom.js";
import * as format from "./format.js";
import { clusterLink } from "./route.js";

const TRACE = 0.002; // shares below this are not drawn
const LABELLED = 7; // levels up to which each column carries its percentage

/** The predicted rating as a number over its distribution: a column for each level of the scale. */
export function ratingChart({ rating, rating_distribution: distribution, cluster }, scale) {
  const levels = distribution?.length ? distribution : [];
  const least = Math.min(...scale);
  const most = Math.max(...scale);
  const peak = Math.max(...levels.map((level) => level.p), 0.01);
  const words = levels.map((level) => `${format.given(level.rating)}: ${format.percent(level.p)}`).join(", ");
  // The marker stands at the mean, measured between the centres of the first and the last column.
  const place = most > least ? (rating - least) / (most - least) : 0.5;
  const inset = 0.5 / Math.max(levels.length, 1);
  return h(
    "div",
    { class: "rating", vars: { "--hue": format.hue(cluster) } },
    h(
      "p",
      { class: "rating-value" },
      h("strong", {}, format.rating(rating)),
      h("span", {}, `on a scale of ${format.given(least)} to ${format.given(most)}`),
    ),
    levels.length > 0 &&
      h(
        "div",
        { class: `columns ${levels.length <= LABELLED ? "labelled" : ""}`, role: "img", "aria-label": `Distribution: ${words}` },
        levels.map((level) =>
          h(
            "div",
            { class: "column", "data-tip": `${format.given(level.rating)}: ${format.percent(level.p)}` },
            h("span", { class: "column-share" }, format.percent(level.p)),
            h("span", { class: `column-bar ${level.p === peak ? "peak" : ""}`, vars: { "--h": level.p / peak } }),
            h("span", { class: "column-level" }, format.given(level.rating)),
          ),
        ),
        h("span", {
          class: "mean",
          "data-tip": `predicted: ${format.rating(rating)}, the mean of the distribution`,
          vars: { "--x": inset + Math.min(1, Math.max(0, place)) * (1 - 2 * inset) },
        }),
      ),
  );
}

/** Rows of stacked bars, one a subject: [{name, href, shares}], with one legend for all. */
export function mixtures(rows, clusters) {
  const shown = rows.filter((row) => row.shares?.length);
  const used = shown[0]?.shares.map((_, k) => k) ?? [];
  return h(
    "div",
    { class: "mixtures" },
    shown.map(({ name, href, shares }) => {
      const top = shares.indexOf(Math.max(...shares));
      const words = shares.map((share, k) => `cluster ${k}: ${format.percent(share)}`).join(", ");
      return h(
        "div",
        { class: "mixture" },
        h("div", { class: "mixture-name" }, href ? h("a", { href }, name) : name),
        h("div", { class: "mixture-top" }, `${format.percent(shares[top])} cluster ${top}`),
        h("div", { class: "stack", role: "img", "aria-label": words }, shares.map((share, k) => segment(share, k))),
      );
    }),
    legend(used, clusters),
  );
}

// A trace would be a gap between two segments and nothing more.
function segment(share, k) {
  if (!(share >= TRACE)) return null;
  return h("span", {
    class: "segment",
    "data-tip": `cluster ${k}: ${format.percent(share)}`,
    vars: { "--hue": format.hue(k), "flex-grow": share },
  });
}

/** The clusters' sizes as one bar. */
export const stack = (clusters, label) =>
  h("div", { class: "stack", role: "img", "aria-label": label }, clusters.map(({ share, cluster }) => segment(share, cluster)));

/** What the colours mean, each with what the cluster speaks of and a link to it. */
export function legend(numbers, clusters) {
  const known = new Map((clusters ?? []).map((cluster) => [cluster.cluster, cluster]));
  return h(
    "ul",
    { class: "legend" },
    numbers.map((k) =>
      h(
        "li",
        { vars: { "--hue": format.hue(k) } },
        h("span", { class: "swatch", "aria-hidden": "true" }),
        h("a", { href: clusterLink(k) }, `Cluster ${k}`),
        h("span", { class: "traits" }, format.traits(known.get(k)).join(", ")),
      ),
    ),
  );
}

/** Horizontal bars with words before them: [{text, value, shown}], in the order given. */
export function bars(rows, { hue, label } = {}) {
  const most = Math.max(...rows.map((row) => row.value), 1e-9);
  return h(
    "ul",
    { class: "bars", "aria-label": label, vars: hue ? { "--hue": hue } : {} },
    rows.map(({ text, value, shown }) =>
      h(
        "li",
        {},
        h("span", { class: "bar-text" }, text),
        h("span", { class: "bar", "aria-hidden": "true" }, h("span", { vars: { width: `${(100 * value) / most}%` } })),
        h("span", { class: "bar-value" }, shown),
      ),
    ),
  );
}

/** A short meter for a value in 0..1. */
export const meter = (value, tip) =>
  h(
    "span",
    { class: "meter", "data-tip": tip, "aria-hidden": "true" },
    h("span", { vars: { width: `${100 * Math.min(1, Math.max(0, value))}%` } }),
  );
