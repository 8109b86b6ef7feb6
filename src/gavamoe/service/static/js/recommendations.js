// What the model would recommend to a user: a list with predicted ratings and a link to each reason.

import { post } from "./api.js";
import { h, notice, put, skeleton } from "./dom.js";
import * as format from "./format.js";
import { explainLink, itemLink } from "./route.js";

const SHOWN = 8;

/** Fill `element` with recommendations for a user. */
export async function recommendations(element, user, scale, signal) {
  put(element, skeleton(5));
  try {
    const { items } = await post("v1/recommend", { user, top: SHOWN, explain: false }, signal);
    if (!items.length)
      return put(element, h("p", { class: "empty" }, `Nothing is left to recommend: ${user} has rated every item.`));
    const fallbacks = [...new Set(items.map((item) => item.why).filter(Boolean))];
    return put(
      element,
      fallbacks.map((why) => h("p", { class: "remark" }, `A fallback: ${why}.`.replace("..", "."))),
      h("ol", { class: "ranking" }, items.map((item) => row(user, item, scale))),
    );
  } catch (error) {
    if (error.name === "AbortError") return element;
    return put(element, notice(error.message, { kind: "error", retry: () => recommendations(element, user, scale, signal) }));
  }
}

function row(user, item, scale) {
  const [least, most] = [Math.min(...scale), Math.max(...scale)];
  const filled = most > least ? (item.rating - least) / (most - least) : 1;
  return h(
    "li",
    { vars: { "--hue": format.hue(item.cluster) } },
    h(
      "div",
      { class: "ranking-name" },
      h("a", { href: itemLink(item.item) }, format.title(item)),
      item.title && h("span", { class: "id" }, item.item),
      item.text && h("p", {}, format.tidy(item.text)),
    ),
    h("span", { class: "meter", "aria-hidden": "true" }, h("span", { vars: { width: `${100 * filled}%` } })),
    h("span", { class: "ranking-rating" }, h("span", { class: "hidden" }, "predicted rating "), format.rating(item.rating)),
    h("a", { class: "button quiet", href: explainLink(user, item.item) }, "Why?", h("span", { class: "hidden" }, ` ${format.title(item)} for ${user}`)),
  );
}
