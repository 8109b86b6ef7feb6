// What others wrote of the item: the sentences that the model read or that support its text, each with its source.

import { h } from "./dom.js";
import * as format from "./format.js";
import { meter } from "./charts.js";
import { userLink } from "./route.js";

/** A list of the evidence; the first `quoted` sentences stood in the prompt. */
export function evidenceList({ evidence, conditions }) {
  if (!evidence?.length)
    return h("p", { class: "empty" }, "No training review of this item holds a sentence that fits. The text rests on the ratings alone.");
  const quoted = conditions?.evidence ?? 0;
  return h(
    "ol",
    { class: "evidence" },
    evidence.map((row, n) => sentence(row, n < quoted)),
  );
}

function sentence({ user, text, rating, score, parts, feature, cluster }, quoted) {
  const why = Object.entries(parts ?? {}).map(([name, value]) => `${name.replaceAll("_", " ")} ${format.score(value)}`);
  return h(
    "li",
    { vars: { "--hue": format.hue(cluster) } },
    h("blockquote", {}, format.tidy(text)),
    h(
      "p",
      { class: "source" },
      h("span", { class: "swatch", "data-tip": `cluster ${cluster}`, "aria-hidden": "true" }),
      h("a", { href: userLink(user) }, user),
      h("span", {}, `rated it ${format.given(rating)}`),
      feature && h("span", {}, `on ${feature}`),
      quoted && h("span", { class: "tag", "data-tip": "The model read this sentence before it wrote." }, "read by the model"),
      h(
        "span",
        { class: "score", tabindex: "0", "data-tip": why.length ? `score: mean of ${format.list(why)}` : "score of the evidence" },
        h("span", { class: "hidden" }, "score "),
        format.score(score),
        meter(score),
      ),
    ),
  );
}
