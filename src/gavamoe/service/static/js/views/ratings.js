// The start page of a run without texts: pick a user, and see what stage 1 would recommend.

import { getKept } from "../api.js";
import { card, h, notice, put } from "../dom.js";
import { userPicker } from "../pickers.js";
import { recommendations } from "../recommendations.js";
import { go, link, userLink } from "../route.js";

export const name = "Recommend";

export function create() {
  const user = userPicker("User");
  const stage = h("div", { class: "stage" });
  const form = h(
    "form",
    { class: "picker", "aria-label": "Pick a user", onsubmit: submit },
    user.element,
    h("div", { class: "picker-actions" }, h("button", { type: "submit", class: "primary" }, "Recommend")),
    h("p", { class: "form-error", role: "alert" }),
  );
  const problem = form.querySelector(".form-error");
  const element = h(
    "div",
    {},
    h("h1", { tabindex: "-1" }, "What would someone like?"),
    h("p", { class: "lead" }, "This run has stage 1 alone: it predicts ratings and writes no texts."),
    form,
    stage,
  );
  let controller = new AbortController();

  function submit(event) {
    event.preventDefault();
    if (user.value) return go(link("explain", { user: user.value }));
    put(problem, "Pick a user first: recommendations are for someone.");
    user.input.focus();
  }

  async function update({ params }) {
    controller.abort();
    controller = new AbortController();
    const { signal } = controller;
    put(problem);
    put(stage);
    user.set(params.user);
    if (!params.user) return;
    const list = card(`Recommended for ${params.user}`, { note: "Not rated yet; ranked by predicted rating." });
    put(stage, list, h("p", { class: "actions" }, h("a", { class: "button", href: userLink(params.user) }, "Taste and ratings of this user")));
    try {
      const run = await getKept("v1/run");
      await recommendations(list.body, params.user, run.scale, signal);
    } catch (error) {
      if (error.name !== "AbortError") put(stage, notice(error.message, { kind: "error", retry: () => update({ params }) }));
    }
  }

  return { element, update, destroy: () => controller.abort() };
}
