// The latent map: pairs of the training reviews as dots in a plane, and the pairs of this view among them.

import { h, s, uid } from "./dom.js";
import * as format from "./format.js";
import { hide, showAt } from "./tip.js";

const WIDTH = 480;
const HEIGHT = 340;
const PADDING = 22;
const LONGEST = 20; // letters of a name beside a mark
const NEAR = 14; // pixels of the drawing within which the pointer means a dot

/**
 * Draw the map.
 *
 * @param {{points: {x, y, cluster}[], method: string}} map
 * @param {{at: [number, number], cluster: number, name: string}[]} marks the pairs to show among the dots
 * @param {object[]} clusters as of /v1/clusters, for the legend
 */
export function latentMap({ points, method }, marks, clusters) {
  const placed = marks.filter((mark) => mark.at?.length === 2);
  const scale = fit([...points.map((p) => [p.x, p.y]), ...placed.map((mark) => mark.at)]);
  const numbers = [...new Set(points.map((p) => p.cluster))].sort((a, b) => a - b);
  const own = new Set(marks.map((mark) => mark.cluster)); // a mark without a place still says which cluster matters
  const layers = numbers.map((k) => dots(points.filter((p) => p.cluster === k), k, scale, own.size === 0 || own.has(k)));
  const titleId = uid("map");
  const drawing = s(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-labelledby": titleId, class: "map" },
    s("title", { id: titleId }, describe(placed, numbers, points)),
    layers,
    placed.map((mark) => pin(mark, scale)),
  );
  const screen = points.map((p) => [...scale([p.x, p.y]), p.cluster]);
  drawing.addEventListener("pointermove", (event) => point(event, drawing, screen));
  drawing.addEventListener("pointerleave", hide);
  return h(
    "figure",
    { class: "map-figure" },
    drawing,
    mapLegend(numbers, layers, clusters),
    h("figcaption", {}, `Each dot is a reviewed pair of the training data. ${sentence(method)}`),
  );
}

const sentence = (method) => (method ? `Axes: ${method}.` : "");

function describe(marks, numbers, points) {
  const where = marks.map((mark) => `${mark.name} lies in cluster ${mark.cluster}`);
  return [`Latent map of ${points.length} pairs in ${numbers.length} clusters`, ...where].join("; ");
}

function fit(positions) {
  const xs = positions.map(([x]) => x);
  const ys = positions.map(([, y]) => y);
  const low = [Math.min(...xs), Math.min(...ys)];
  const wide = [Math.max(...xs) - low[0] || 1, Math.max(...ys) - low[1] || 1];
  return ([x, y]) => [
    PADDING + ((x - low[0]) / wide[0]) * (WIDTH - 2 * PADDING),
    HEIGHT - PADDING - ((y - low[1]) / wide[1]) * (HEIGHT - 2 * PADDING),
  ];
}

// One path a cluster: a line of no length with round ends is a dot, and a thousand of them stay one element.
function dots(points, cluster, scale, strong) {
  const d = points.map((p) => scale([p.x, p.y])).map(([x, y]) => `M${x.toFixed(1)} ${y.toFixed(1)}h.01`).join("");
  return s("path", { d, class: `dots ${strong ? "" : "faint"}`, vars: { "--hue": format.hue(cluster) } });
}

function pin({ at, cluster, name }, scale) {
  const [x, y] = scale(at);
  const left = x > WIDTH * 0.66;
  return s(
    "g",
    { class: "pin", transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`, vars: { "--hue": format.hue(cluster) } },
    s("circle", { r: 11, class: "pin-halo" }),
    s("circle", { r: 8.5, class: "pin-ring" }),
    s("circle", { r: 4.5, class: "pin-core" }),
    s("text", { x: left ? -16 : 16, y: 4.5, "text-anchor": left ? "end" : "start" }, shorten(name)),
  );
}

const shorten = (name) => (name.length > LONGEST ? `${name.slice(0, LONGEST - 1)}…` : name);

function point(event, drawing, screen) {
  const box = drawing.getBoundingClientRect();
  const factor = WIDTH / box.width;
  const [px, py] = [(event.clientX - box.left) * factor, (event.clientY - box.top) * factor];
  let best = null;
  let least = NEAR * NEAR;
  for (const [x, y, cluster] of screen) {
    const far = (x - px) ** 2 + (y - py) ** 2;
    if (far < least) [best, least] = [[x, y, cluster], far];
  }
  if (!best) return hide();
  showAt(`a pair of cluster ${best[2]}`, box.left + best[0] / factor, box.top + best[1] / factor - 4);
}

function mapLegend(numbers, layers, clusters) {
  const known = new Map((clusters ?? []).map((cluster) => [cluster.cluster, cluster]));
  const buttons = numbers.map((k) =>
    h(
      "button",
      {
        type: "button",
        class: "legend-button",
        "aria-pressed": "false",
        vars: { "--hue": format.hue(k) },
        onclick: () => emphasise(k),
      },
      h("span", { class: "swatch", "aria-hidden": "true" }),
      h("span", {}, `Cluster ${k}`),
      h("span", { class: "traits" }, format.traits(known.get(k), 2).join(", ")),
    ),
  );
  const before = layers.map((layer) => layer.classList.contains("faint"));
  function emphasise(k) {
    const index = numbers.indexOf(k);
    const already = buttons[index].getAttribute("aria-pressed") === "true";
    buttons.forEach((button, n) => button.setAttribute("aria-pressed", String(!already && n === index)));
    layers.forEach((layer, n) => layer.classList.toggle("faint", already ? before[n] : n !== index));
  }
  return h("div", { class: "legend", role: "group", "aria-label": "Emphasise a cluster" }, buttons);
}
