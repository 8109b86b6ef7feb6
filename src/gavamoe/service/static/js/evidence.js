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
  const reason = why.length ? `the mean of ${format.list(why)}` : "how well the sentence fits";
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
        { class: "score", role: "img", tabindex: "0", "data-tip": reason, "aria-label": `score ${format.score(score)}; ${reason}` },
        format.score(score),
        meter(score),
      ),
    ),
  );
}
