// Ask for the API key where the service wants one; it stays in this tab's session.

import { h, put } from "./dom.js";

let open = null;

/** Show the dialog; returns a promise of the key, or of null where the person cancels. One dialog serves all requests. */
export function askForKey(wasWrong) {
  open ??= ask(wasWrong).finally(() => (open = null));
  return open;
}

function ask(wasWrong) {
  const dialog = document.getElementById("key");
  const field = h("input", { id: "key-field", type: "password", autocomplete: "off", required: true });
  return new Promise((resolve) => {
    put(
      dialog,
      h(
        "form",
        {
          onsubmit: (event) => {
            event.preventDefault();
            dialog.close(field.value);
          },
        },
        h("h2", { id: "key-title" }, "This service asks for an API key"),
        h("p", {}, wasWrong ? "The last key was not accepted." : "Whoever runs the service can give you one. It is kept until you close this tab."),
        h("div", { class: "field" }, h("label", { for: "key-field" }, "API key"), field),
        h("p", { class: "actions" }, h("button", { type: "submit", class: "primary" }, "Continue"), h("button", { type: "button", onclick: () => dialog.close("") }, "Cancel")),
      ),
    );
    dialog.addEventListener("close", () => resolve(dialog.returnValue || null), { once: true });
    dialog.returnValue = "";
    dialog.showModal();
  });
}
