// "Was this useful?": two buttons, then an optional comment; kept by the service.

import { post } from "./api.js";
import { h, put, uid } from "./dom.js";

const LONGEST = 1000; // letters of a comment

/** Build the form for one explanation. */
export function feedbackForm({ user, item, text }) {
  const reply = h("span", { class: "feedback-reply", role: "status" });
  const more = h("div", {});
  const buttons = [
    [true, "Useful"],
    [false, "Not useful"],
  ].map(([useful, name]) =>
    h("button", { type: "button", class: "quiet", "aria-pressed": "false", onclick: (event) => send(useful, event.currentTarget) }, name),
  );

  async function keep(body, thanks) {
    buttons.forEach((button) => (button.disabled = true));
    try {
      await post("v1/feedback", { user, item, text, ...body });
      put(reply, thanks);
      return true;
    } catch (error) {
      put(reply, `Not kept. ${error.message}`);
      return false;
    } finally {
      buttons.forEach((button) => (button.disabled = false));
    }
  }

  async function send(useful, pressed) {
    if (!(await keep({ useful }, "Thank you, kept."))) return;
    buttons.forEach((button) => button.setAttribute("aria-pressed", String(button === pressed)));
    put(more, commentForm(async (comment) => (await keep({ useful, comment }, "Thank you, your comment is kept.")) && put(more)));
  }

  return [h("div", { class: "feedback-row" }, h("span", {}, "Is this explanation useful?"), buttons, reply), more];
}

function commentForm(onsend) {
  const id = uid("comment");
  const field = h("input", { id, type: "text", maxlength: LONGEST, autocomplete: "off" });
  return h(
    "form",
    {
      class: "comment",
      onsubmit: (event) => {
        event.preventDefault();
        if (field.value.trim()) onsend(field.value.trim());
      },
    },
    h("label", { for: id }, "What makes it so? (optional)"),
    h("div", { class: "comment-row" }, field, h("button", { type: "submit", class: "quiet" }, "Send")),
  );
}
