// Dark and light: as the system says, until the person chooses; the choice is kept in the browser.

import { read, write } from "./storage.js";

const KEY = "gavamoe-theme";

export function start() {
  const button = document.getElementById("theme");
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => read("localStorage", KEY);
  const dark = () => (chosen() ? chosen() === "dark" : system.matches);

  function apply() {
    if (chosen()) document.documentElement.dataset.theme = chosen();
    const next = dark() ? "light" : "dark";
    button.setAttribute("aria-label", `Switch to the ${next} theme`);
    button.dataset.next = next;
  }

  button.addEventListener("click", () => {
    write("localStorage", KEY, dark() ? "light" : "dark");
    apply();
  });
  system.addEventListener("change", apply);
  apply();
}
