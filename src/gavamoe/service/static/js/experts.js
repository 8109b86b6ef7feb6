// Which experts spoke: a table of layers by experts, shaded by each expert's share of the text's routing.

import { h } from "./dom.js";
import * as format from "./format.js";

const SPACES = /^[\s▁Ġ]+|\s+$/gu;
const NUMBERED = 12; // experts up to which a cell shows its percentage

/** Build the table; `highlight(layers)` marks the experts chosen for a word, `highlight(null)` shows the shares again. */
export function expertTable({ experts, cluster }) {
  const most = Math.max(...experts.flat(), 1e-9);
  const { element, table, cells } = grid(experts, "Share of the text's routing in per cent, by layer and expert", (share, where) => ({
    tip: `${where}: ${format.percent(share)} of the text's routing`,
    shade: share / most,
    hue: format.hue(cluster),
    text: whole(share),
  }));
  return {
    element,
    highlight(layers) {
      table.classList.toggle("focusing", layers !== null);
      cells.forEach((row, layer) =>
        row.forEach((cell, expert) => cell.classList.toggle("chosen", Boolean(layers?.[layer]?.includes(expert)))),
      );
    },
  };
}

/** A table of the differences between two texts' routing, each cell in the colour of whoever used the expert more. */
export function differenceTable(a, b) {
  const differences = a.experts.map((shares, layer) => shares.map((share, expert) => share - b.experts[layer][expert]));
  const most = Math.max(...differences.flat().map(Math.abs), 1e-9);
  // Two pairs of one cluster have one colour: the second is then shown in grey.
  const second = a.cluster === b.cluster ? "var(--soft)" : format.hue(b.cluster);
  return grid(differences, "Difference of routing in percentage points, by layer and expert", (share, where) => ({
    tip: `${where}: ${whole(Math.abs(share))} points more for ${share >= 0 ? a.user : b.user}`,
    shade: Math.abs(share) / most,
    hue: share >= 0 ? format.hue(a.cluster) : second,
    text: Math.abs(share) < 0.005 ? "0" : `${share > 0 ? "+" : "−"}${whole(Math.abs(share))}`,
  })).element;
}

/** The routing that two texts have in common, 0..1, as a mean over layers. */
export function overlap(a, b) {
  const layers = a.map((shares, layer) => shares.reduce((sum, share, expert) => sum + Math.min(share, b[layer][expert]), 0));
  return layers.reduce((sum, value) => sum + value, 0) / Math.max(layers.length, 1);
}

function grid(rows, caption, look) {
  const width = rows[0]?.length ?? 0;
  const cells = rows.map((shares, layer) => shares.map((share, expert) => cell(look(share, `layer ${layer + 1}, expert ${expert}`), width)));
  const table = h(
    "table",
    { class: "experts", vars: { "--columns": width } },
    h("caption", { class: "hidden" }, caption),
    h(
      "thead",
      {},
      h("tr", {}, h("td", {}, ""), cells[0]?.map((_, n) => h("th", { scope: "col" }, h("span", { class: "hidden" }, "expert "), n))),
    ),
    h("tbody", {}, cells.map((row, layer) => h("tr", {}, h("th", { scope: "row" }, `layer ${layer + 1}`), row))),
  );
  const element = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, table);
  return { element, table, cells };
}

const cell = ({ tip, shade, hue, text }, width) =>
  h(
    "td",
    { "data-tip": tip, vars: { "--share": shade.toFixed(3), "--hue": hue } },
    h("span", { class: width <= NUMBERED ? "" : "hidden" }, text),
  );

const whole = (share) => String(Math.round(share * 100));

/**
 * Group tokens into the words of a text: [{text, layers}], layers being the experts chosen by any of the word's tokens.
 *
 * Tokens are matched in order, so a tokenizer's own marks of spaces do not matter; null where they do not fit the text.
 */
export function wordsOf(text, tokens) {
  const words = [];
  let position = 0;
  for (const token of tokens) {
    if (!token.text.replace(SPACES, "")) continue;
    // As it stands, else without the marks with which tokenizers write spaces.
    const forms = [token.text.trim(), token.text.replace(SPACES, "")];
    const piece = forms.find((form) => follows(text, form, position));
    if (piece === undefined) return null;
    const found = text.indexOf(piece, position);
    const gap = found > position || words.length === 0;
    position = found + piece.length;
    if (gap) words.push({ text: piece, layers: token.layers.map((chosen) => [...chosen]) });
    else join(words.at(-1), piece, token.layers);
  }
  return words.length && !text.slice(position).trim() ? words : null;
}

function follows(text, piece, position) {
  const found = text.indexOf(piece, position);
  return found >= 0 && !text.slice(position, found).trim();
}

function join(word, piece, layers) {
  word.text += piece;
  layers.forEach((chosen, layer) => (word.layers[layer] = [...new Set([...word.layers[layer], ...chosen])]));
}

/** "layer 1: experts 0 and 5; layer 2: ..." */
export const inWords = (layers) =>
  layers.map((chosen, layer) => `layer ${layer + 1}: ${format.list([...chosen].sort((a, b) => a - b).map(String))}`).join(" · ");
