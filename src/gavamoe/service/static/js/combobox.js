// A text field with suggestions from the service, after the combobox pattern of the ARIA Authoring Practices.

import { announce, h, put, uid } from "./dom.js";

const PAUSE_MS = 120; // between a key and the request for suggestions

/** The options whose value or text is exactly what was typed. */
const matches = (options, typed) => options.filter((option) => !option.isNew && (option.value === typed || option.text === typed));

/**
 * Build a combobox.
 *
 * @param {object} options label; placeholder; suggest(prefix, signal) -> [{value, text, detail}]; unknown(value): what
 *   the last option says of a value that is not among the suggestions; onpick(value): called when one is chosen.
 */
export function combobox({ label, placeholder, suggest, unknown, onpick }) {
  const id = uid("combo");
  const input = h("input", {
    id,
    type: "text",
    role: "combobox",
    placeholder,
    autocomplete: "off",
    autocapitalize: "none",
    spellcheck: "false",
    "aria-autocomplete": "list",
    "aria-expanded": "false",
    "aria-controls": `${id}-list`,
  });
  const box = h("ul", { id: `${id}-list`, role: "listbox", "aria-label": label, class: "options", hidden: true });
  const element = h("div", { class: "field combobox" }, h("label", { for: id }, label), input, box);

  let value = "";
  let options = [];
  let optionsFor = null; // what was typed when the options were requested
  let active = -1;
  let edited = false; // since the last choice: an untouched field suggests from the whole list
  let timer = 0;
  let request = null;

  function close() {
    clearTimeout(timer);
    request?.abort();
    box.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function choose(option) {
    value = option.value;
    input.value = option.text || option.value;
    edited = false;
    close();
    onpick?.(value);
  }

  function activate(index) {
    active = index;
    [...box.children].forEach((row, n) => row.setAttribute("aria-selected", String(n === index)));
    if (index < 0) return input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", box.children[index].id);
    box.children[index].scrollIntoView({ block: "nearest" });
  }

  function draw(typed) {
    if (typed && !matches(options, typed).length) options = [...options, { value: typed, text: "", detail: unknown(typed), isNew: true }];
    put(
      box,
      options.map((option, n) =>
        h(
          "li",
          {
            role: "option",
            id: `${id}-${n}`,
            "aria-selected": "false",
            class: option.isNew ? "new" : null,
            // pointerdown, not click: the field would lose its focus first and close the list.
            onpointerdown: (event) => {
              event.preventDefault();
              choose(option);
            },
          },
          h("span", { class: "option-text" }, option.text || option.value),
          h("span", { class: "option-detail" }, option.detail),
        ),
      ),
    );
    box.hidden = options.length === 0;
    input.setAttribute("aria-expanded", String(!box.hidden));
    activate(-1);
  }

  async function open() {
    request?.abort();
    request = new AbortController();
    const { signal } = request;
    const typed = edited ? input.value.trim() : "";
    try {
      const found = await suggest(typed, signal);
      if (signal.aborted || document.activeElement !== input) return;
      [options, optionsFor] = [found, typed];
      draw(typed);
      announce(options.length ? `${options.length} suggestions` : "no suggestions");
    } catch (error) {
      if (error.name === "AbortError") return;
      [options, optionsFor] = [[], null];
      activate(-1);
      put(box, h("li", { class: "option-error" }, error.message));
      box.hidden = false;
    }
  }

  /** Take the only option that is what was typed; an id counts before a title. Suggestions that are missing are requested. */
  async function resolve() {
    const typed = input.value.trim();
    if (!edited || !typed) return;
    let found = options;
    if (optionsFor !== typed) found = await suggest(typed).catch(() => []);
    if (!edited || input.value.trim() !== typed) return;
    const same = matches(found, typed);
    const match = same.find((option) => option.value === typed) ?? (same.length === 1 ? same[0] : null);
    if (match) choose(match);
  }

  input.addEventListener("input", () => {
    value = input.value.trim();
    edited = true;
    activate(-1);
    clearTimeout(timer);
    timer = setTimeout(open, PAUSE_MS);
  });
  input.addEventListener("click", () => box.hidden && open());
  input.addEventListener("focus", () => input.select());
  input.addEventListener("blur", () => {
    close();
    resolve();
  });
  input.addEventListener("keydown", (event) => {
    const last = options.length - 1;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (box.hidden) return void open();
      if (!options.length) return;
      const step = event.key === "ArrowDown" ? 1 : -1;
      activate(active + step > last ? 0 : active + step < 0 ? last : active + step);
    } else if (event.key === "Enter" && active >= 0 && !box.hidden) {
      event.preventDefault();
      choose(options[active]);
    } else if (event.key === "Escape" && !box.hidden) {
      event.preventDefault();
      event.stopPropagation();
      close();
    } else if (event.key === "Enter" || event.key === "Tab") {
      close();
    }
  });

  return {
    element,
    input,
    /** Await this before `value` is read: what was typed may be the title of an option. */
    resolve,
    get value() {
      return value;
    },
    /** Show a value that comes from the address; `text` is its title where known. */
    set(next, text) {
      value = next ?? "";
      input.value = text || value;
      edited = false;
    },
  };
}
