// One tooltip for the page: elements with data-tip show it when pointed at or focused; charts may place it themselves.

let tip = null;

export function start() {
  tip = document.getElementById("tip");
  const target = (event) => event.target.closest?.("[data-tip]");
  document.addEventListener("pointerover", (event) => {
    const found = target(event);
    if (found) showBeside(found);
  });
  document.addEventListener("pointerout", (event) => target(event) && hide());
  document.addEventListener("focusin", (event) => {
    const found = target(event);
    if (found?.matches(":focus-visible")) showBeside(found);
  });
  document.addEventListener("focusout", hide);
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
  document.addEventListener("scroll", hide, { capture: true, passive: true });
}

function showBeside(element) {
  const box = element.getBoundingClientRect();
  showAt(element.dataset.tip, box.left + box.width / 2, box.top);
}

/** Show a text above a point of the window, kept inside it. */
export function showAt(text, x, y) {
  tip.textContent = text;
  tip.hidden = false;
  const { offsetWidth: width, offsetHeight: height } = tip;
  const left = Math.min(Math.max(8, x - width / 2), document.documentElement.clientWidth - width - 8);
  const above = y - height - 8;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${above < 8 ? y + 20 : above}px`;
}

export function hide() {
  tip.hidden = true;
}
