// Numbers and names as the page writes them.

const one = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const two = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const upToTwo = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const COLOURS = 10;

export const rating = (value) => (Number.isFinite(value) ? one.format(value) : "–");
export const given = (value) => (Number.isFinite(value) ? upToTwo.format(value) : "–");
export const count = (value) => (Number.isFinite(value) ? whole.format(value) : "–");
export const score = (value) => (Number.isFinite(value) ? two.format(value) : "–");
export const signed = (value) => (value < 0 ? "−" : "+") + two.format(Math.abs(value));
export const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;

/** A share as a percentage; a trace of something is not nothing. */
export function percent(share) {
  if (!Number.isFinite(share)) return "–";
  if (share > 0 && share < 0.005) return "<1 %";
  return `${whole.format(share * 100)} %`;
}

/** The CSS variable that holds a cluster's colour. */
export const hue = (cluster) => `var(--c${(((cluster ?? 0) % COLOURS) + COLOURS) % COLOURS})`;

/** The text of a label that may be a string or an object such as {feature, count}. */
export const label = (value) =>
  typeof value === "string" ? value : String(value?.feature ?? value?.word ?? value?.name ?? value?.label ?? "");

/** "a, b and c" */
export function list(words) {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

/** What a cluster stands out by, in a few words, or nothing. */
export function traits(cluster, most = 3) {
  const found = [...(cluster?.features ?? []), ...(cluster?.likes ?? []), ...(cluster?.genres ?? [])].map(label);
  return [...new Set(found.filter(Boolean))].slice(0, most);
}

/** The title of an item, or its id where the source has none. */
export const title = (item) => item?.title || item?.item || "";

/** A text with its punctuation set as people set it: corpora put spaces before commas. */
export const tidy = (text) => text.replace(/ ([,.;:!?)\]%]|n't|'s|'re|'ve|'ll|'d|'m)(?=\s|$)/g, "$1");
