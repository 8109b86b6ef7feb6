// Build elements without markup strings: every text of a user or a model becomes a text node, never HTML.

const SVG = "http://www.w3.org/2000/svg";

/** Build an HTML element: h("a", {class: "x", href, onclick}, child, ...). Children: nodes, strings, arrays, null. */
export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** Build an SVG element in the same way. */
export function s(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    // Through the object model: a style attribute would need a laxer content security policy.
    else if (name === "vars") for (const [key, v] of Object.entries(value)) element.style.setProperty(key, v);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(3)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

/** Replace an element's children. */
export function put(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

let last = 0;
/** Return an id that no other element has. */
export const uid = (prefix) => `${prefix}-${++last}`;

/** Say something to screen readers without showing it. */
export function announce(text) {
  const region = document.getElementById("status");
  region.textContent = "";
  requestAnimationFrame(() => (region.textContent = text));
}

/** A card: a titled section of the page. Returns the section; its `body` property takes the content. */
export function card(title, { note, name, level = "h2" } = {}) {
  const id = uid("card");
  const body = h("div", { class: "card-body" });
  const section = h(
    "section",
    { class: `card ${name ? `card-${name}` : ""}`, "aria-labelledby": id },
    h("div", { class: "card-head" }, h(level, { id }, title), note && h("p", { class: "note" }, note)),
    body,
  );
  section.body = body;
  return section;
}

/** Grey bars where content is about to come. */
export function skeleton(lines = 3) {
  return h(
    "div",
    { class: "skeleton", "aria-hidden": "true" },
    Array.from({ length: lines }, (_, n) => h("span", { vars: { "--w": `${[92, 76, 84, 58, 88][n % 5]}%` } })),
  );
}

/** A grey field as large as what is about to come, so that nothing jumps. */
export const blank = (height) => h("div", { class: "skeleton", "aria-hidden": "true" }, h("span", { class: "blank", vars: { "--height": height } }));

/** A sentence about something that went wrong or is empty, with what to do next. */
export function notice(text, { retry, kind = "info" } = {}) {
  return h(
    "div",
    { class: `notice notice-${kind}`, role: kind === "error" ? "alert" : null },
    h("p", {}, text),
    retry && h("button", { type: "button", class: "quiet", onclick: retry }, "Try again"),
  );
}
