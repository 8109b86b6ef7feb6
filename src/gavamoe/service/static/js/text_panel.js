// The explanation of one pair: its words as they come, then each word with the experts that wrote it, and feedback.

import { post, stream } from "./api.js";
import { h, notice, put, uid } from "./dom.js";
import { inWords, wordsOf } from "./experts.js";
import { feedbackForm } from "./feedback.js";
import * as format from "./format.js";
import { itemLink, userLink } from "./route.js";

const EVIDENCE = 5; // sentences of others to ask for
const SPOKEN_MS = 1200; // between two updates of the live region: words one by one would stutter
const HINT = "Point at a word to see its experts; or press Tab to reach the words and use the arrow keys.";

/** Return the request for one pair; a rating or a feature set by the person is a given condition. */
export function requestFor({ user, item, rating, feature, seed }) {
  const pair = { user, item };
  const condition = {};
  if (rating) [pair.rating, condition.rating] = [Number(rating), "given"];
  if (feature) [pair.feature, condition.feature] = [feature, "given"];
  const body = { pairs: [pair], evidence: EVIDENCE, experts: true };
  if (Object.keys(condition).length) body.condition = condition;
  if (seed) body.seed = Number(seed);
  return body;
}

/**
 * Build the panel.
 *
 * @param {object} hooks onfinal(explanation); onfail() where there will be none; onword(layers or null); onagain() of the
 *   button for another wording
 */
export function textPanel({ onfinal, onfail, onword, onagain }) {
  const headingId = uid("text");
  const heading = h("h2", { id: headingId });
  const itemName = h("a", {});
  const words = h("div", { class: "words" });
  const spoken = h("div", { class: "hidden", role: "log", "aria-live": "polite", "aria-label": "The text, as it is written" });
  const readout = h("p", { class: "readout" });
  const details = h("div", { class: "details" });
  const feedback = h("div", { class: "feedback" });
  const tools = h("div", { class: "tools" });
  const element = h(
    "section",
    { class: "card card-text", "aria-labelledby": headingId },
    h("div", { class: "card-head" }, heading, tools),
    words,
    spoken,
    readout,
    details,
    feedback,
  );
  let request = null;

  function stop() {
    request?.abort();
    request = null;
  }

  async function run(question) {
    stop();
    request = new AbortController();
    const { signal } = request;
    begin(question);
    const voice = speaker(spoken);
    try {
      const answer = await write(question, voice, signal);
      voice.end();
      settle(answer);
      onfinal(answer);
      put(feedback, feedbackForm(answer));
      if (answer.source !== "template") await explainWords(question, answer, signal);
    } catch (error) {
      voice.end();
      element.removeAttribute("aria-busy");
      words.classList.remove("writing");
      if (error.name === "AbortError") return;
      put(tools);
      if (words.querySelector(".waiting")) put(words);
      put(details, notice(error.message, { kind: "error", retry: () => run(question) }));
      onfail?.();
    }
  }

  function begin({ user, item }) {
    itemName.href = itemLink(item);
    itemName.textContent ||= item;
    put(heading, "Why ", itemName, " for ", h("a", { href: userLink(user) }, user));
    put(words, h("span", { class: "waiting" }, "The model is reading the pair"));
    words.classList.add("writing");
    for (const name of ["role", "aria-label", "aria-orientation"]) words.removeAttribute(name);
    element.setAttribute("aria-busy", "true");
    put(spoken);
    put(readout);
    put(details);
    put(feedback);
    put(tools, h("button", { type: "button", class: "quiet", onclick: halt }, "Stop"));
    onword(null);
  }

  function halt() {
    stop();
    put(tools, onagain && h("button", { type: "button", class: "quiet", onclick: onagain }, "Write again"));
    put(readout, "Stopped before the end.");
    if (words.querySelector(".waiting")) put(words);
    onfail?.();
  }

  async function write(question, voice, signal) {
    let first = true;
    for await (const { event, data } of stream("v1/explain/stream", requestFor(question), signal)) {
      if (event === "word") {
        if (first) put(words);
        first = false;
        const piece = closeUp(data.text);
        words.append(h("span", { class: "piece" }, piece));
        voice.say(piece);
      } else if (event === "explanation") {
        return data;
      } else if (event === "error") {
        throw new Error(`The text broke off: ${data.error}.`.replace(/\.\.$/, "."));
      }
    }
    throw new Error("The text broke off before its end. Please try again.");
  }

  function settle(answer) {
    const final = format.tidy(answer.text);
    const draft = words.textContent.trim();
    const changed = draft !== "" && draft !== final && !words.querySelector(".waiting");
    put(words, final || h("span", { class: "waiting" }, "The model wrote no text for this pair."));
    words.classList.remove("writing");
    element.removeAttribute("aria-busy");
    put(tools, onagain && h("button", { type: "button", class: "quiet", onclick: onagain }, "Another wording"));
    if (changed) spoken.append(h("p", {}, `Final text: ${final}`));
    put(details, chips(answer), remarks(answer, changed));
  }

  async function explainWords(question, answer, signal) {
    const body = { user: answer.user, item: answer.item, text: answer.text };
    if (question.rating) body.rating = Number(question.rating);
    if (question.feature) body.feature = question.feature;
    let found;
    try {
      found = wordsOf(answer.text, (await post("v1/experts", body, signal)).tokens);
    } catch (error) {
      if (error.name === "AbortError") return;
      put(readout, `Which experts wrote each word is not known: ${error.message}`);
      return;
    }
    if (!found) return;
    put(readout, HINT);
    const onselect = (word) => {
      onword(word?.layers ?? null);
      put(readout, word ? [h("strong", {}, word.text), ` — ${inWords(word.layers)}`] : HINT);
    };
    showWords(words, found, onselect, signal);
  }

  return { element, run, stop, name: (title) => (itemName.textContent = title) };
}

// Corpora put spaces before commas; the page does not.
const closeUp = (piece) => (/^\s+([,.;:!?)\]%]|n't|'(s|re|ve|ll|d|m))/.test(piece) ? piece.trimStart() : piece);

/** Say the words to screen readers a few at a time. */
function speaker(region) {
  let pending = "";
  const flush = () => {
    if (pending.trim()) region.append(h("span", {}, pending));
    pending = "";
  };
  const timer = setInterval(flush, SPOKEN_MS);
  return {
    say: (piece) => (pending += piece),
    end: () => {
      clearInterval(timer);
      flush();
    },
  };
}

/** Turn a text into words that can be pointed at, tapped and walked with the arrow keys. */
function showWords(element, words, onselect, signal) {
  element.setAttribute("role", "listbox");
  element.setAttribute("aria-orientation", "horizontal");
  element.setAttribute("aria-label", "The explanation, word by word");
  const spans = words.map((word, n) =>
    h(
      "span",
      { class: "word", role: "option", tabindex: n ? "-1" : "0", "aria-selected": "false", "aria-description": inWords(word.layers) },
      word.text,
    ),
  );
  put(element, spans.map((span, n) => [n > 0 && closeUp(` ${words[n].text}`).startsWith(" ") ? " " : "", span]));
  const select = (index) => {
    spans.forEach((span, n) => span.setAttribute("aria-selected", String(n === index)));
    onselect(words[index] ?? null);
  };
  spans.forEach((span, n) => {
    span.addEventListener("pointerenter", () => select(n));
    span.addEventListener("focus", () => {
      spans.forEach((other, m) => (other.tabIndex = m === n ? 0 : -1));
      select(n);
    });
  });
  const focused = () => spans.indexOf(document.activeElement);
  // The signal of the request: the next text takes these listeners away.
  const listen = (type, listener) => element.addEventListener(type, listener, { signal });
  listen("pointerleave", () => select(focused()));
  listen("focusout", (event) => !element.contains(event.relatedTarget) && select(-1));
  listen("keydown", (event) => {
    const now = focused();
    const next = { ArrowRight: now + 1, ArrowDown: now + 1, ArrowLeft: now - 1, ArrowUp: now - 1, Home: 0, End: spans.length - 1 }[event.key];
    if (event.key === "Escape") document.activeElement.blur();
    if (next === undefined || !spans[next]) return;
    event.preventDefault();
    spans[next].focus();
  });
}

function chips({ feature, conditions = {}, source: from }) {
  const source = { predicted: "as predicted", given: "as you set it", none: "not given" };
  return h(
    "ul",
    { class: "chips", "aria-label": "What the model was given" },
    feature && h("li", {}, h("span", {}, "feature"), feature, h("em", {}, source[conditions.feature])),
    conditions.rating && h("li", {}, h("span", {}, "rating"), source[conditions.rating] ?? conditions.rating),
    conditions.evidence > 0 && h("li", {}, h("span", {}, "read"), format.plural(conditions.evidence, "quote")),
    from === "store" && h("li", {}, "kept from an earlier request"),
  );
}

function remarks(answer, changed) {
  const { user, item } = answer;
  const found = [];
  if (answer.source === "template")
    found.push("This text comes from a template, not from the model: the model had no time left for it.");
  if (answer.cold_user) found.push(`${user} has no training review, so the model speaks to an unknown user.`);
  if (answer.cold_item) found.push(`${item} has no training review, so the model speaks of an unknown item.`);
  if (answer.finished === false) found.push("The text reached its greatest length and was cut.");
  if (changed) found.push("What you saw written was a first draft. The model then chose the draft that its drafts agree on most.");
  return found.map((text) => h("p", { class: "remark" }, text));
}
