"""Figures of a diagnosis as SVG markup for the page, in the style of `evaluation.plots`.

Shape legend: N pairs, C clusters, L layers, E experts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gavamoe.diagnostics.clusterings import RUN
from gavamoe.diagnostics.routing import NEAR
from gavamoe.evaluation.plots import COLOURS, STYLE, to_svg

WIDTH, HEIGHT = 4.6, 3.3  # inches; a figure fits a phone without scrolling
MUTED = "#8a94a3"  # readable on light and dark pages
MAX_LAYERS = 6  # layers that are drawn, spread over the model


@rc_context(STYLE)
def plane(points_N2: np.ndarray, cluster_N: np.ndarray, title: str) -> str:
    """Draw pairs in a plane, coloured by cluster, with the number of each cluster at its centre."""
    figure, axes = _figure(WIDTH, 3.6)
    order = np.random.default_rng(0).permutation(len(points_N2))  # no cluster covers the others
    colour_N = np.array([COLOURS[int(cluster) % len(COLOURS)] for cluster in cluster_N], dtype=object)
    # Only the points are rasterized: thousands of vector points would take a megabyte.
    axes.scatter(
        points_N2[order, 0], points_N2[order, 1], c=colour_N[order].tolist(), s=7, alpha=0.55, lw=0, rasterized=True
    )
    for cluster in np.unique(cluster_N):
        x, y = np.median(points_N2[cluster_N == cluster], axis=0)
        colour = COLOURS[int(cluster) % len(COLOURS)]
        box = {"boxstyle": "round,pad=0.25", "facecolor": colour, "edgecolor": "none"}
        axes.annotate(
            str(cluster),
            (x, y),
            xytext=(16, 14),
            textcoords="offset points",
            ha="center",
            va="center",
            color="white",
            fontweight="bold",
            bbox=box,
        )
    axes.set(title=title, xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return to_svg(figure)


@rc_context(STYLE)
def text_gains(comparison: list[dict[str, Any]]) -> str | None:
    """Draw what each clustering says about held-out words, with two standard errors; None without texts."""
    rows = [row for row in comparison if row["text_gain"] is not None]
    if not rows:
        return None
    figure, axes = _figure(WIDTH, 0.36 * len(rows) + 0.9)
    place = np.arange(len(rows))[::-1]
    gain = np.array([row["text_gain"] for row in rows])
    error = 2 * np.array([row["text_gain_error"] for row in rows])
    colours = [COLOURS[0] if row["clustering"] == RUN else MUTED for row in rows]
    axes.barh(place, gain, height=0.62, color=colours)
    axes.errorbar(gain, place, xerr=error, fmt="none", ecolor=STYLE["text.color"], elinewidth=1, capsize=2)
    axes.set_yticks(place, [row["clustering"] for row in rows])
    axes.axvline(0, color=MUTED, linewidth=0.8)
    axes.set(xlabel="nats per held-out word")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    return to_svg(figure)


@rc_context(STYLE)
def gaps(deciles: list[float]) -> str:
    """Draw the gap between the two largest responsibilities over the pairs, from the least to the most decided."""
    figure, axes = _figure(WIDTH, 2.6)
    axes.axhspan(0, NEAR, color=COLOURS[5], alpha=0.18, lw=0)
    axes.annotate("near a boundary", (98, NEAR / 2), ha="right", va="center", fontsize=8)
    axes.plot(np.linspace(0, 100, len(deciles)), deciles, color=COLOURS[0], linewidth=1.8)
    axes.set(xlabel="pairs, in per cent", ylabel="gap of responsibilities", xlim=(0, 100), ylim=(0, 1.02))
    return to_svg(figure)


@rc_context(STYLE)
def retraining(changes: dict[str, list[float]]) -> str:
    """Draw the share of pairs whose matched gate changes, a point per training, by what was changed."""
    figure, axes = _figure(WIDTH, 0.4 * len(changes) + 0.9)
    for place, shares in enumerate(reversed(changes.values())):
        axes.plot([100 * s for s in shares], [place] * len(shares), "o", color=COLOURS[0], alpha=0.8, markersize=6)
        axes.plot([100 * float(np.mean(shares))] * 2, [place - 0.25, place + 0.25], color=COLOURS[5], linewidth=2)
    axes.set_yticks(range(len(changes)), list(reversed(changes)))
    axes.set(xlabel="pairs with another gate, in per cent", ylim=(-0.6, len(changes) - 0.4))
    axes.set_xlim(left=0)
    axes.tick_params(axis="y", length=0)
    return to_svg(figure)


def expert_use(share_CLE: np.ndarray, layers: list[int], rows: list[str]) -> list[str]:
    """Draw the share of selections per expert, one figure a layer, with the rows named."""
    widest = max(float(np.abs(share_CLE - 1 / share_CLE.shape[2]).max()), 1e-6)
    return [
        _heat_map(share_CLE[:, at], f"layer {layers[at]}", rows, 1 / share_CLE.shape[2], widest, "{:.0%}")
        for at in _spread(len(layers))
    ]


def removal(rises: list[dict[str, Any]]) -> str:
    """Draw the rise of the loss without each expert, layers as rows."""
    layers = sorted({row["layer"] for row in rises})
    experts = max(row["expert"] for row in rises) + 1
    rise_LE = np.full((len(layers), experts), np.nan)
    for row in rises:
        rise_LE[layers.index(row["layer"]), row["expert"]] = row["rise"]
    widest = max(float(np.nanmax(np.abs(rise_LE))), 1e-6)
    return _heat_map(rise_LE, "", [f"layer {layer}" for layer in layers], 0, widest, "{:+.3f}")


@rc_context(STYLE)
def _heat_map(value_RE: np.ndarray, title: str, rows: list[str], centre: float, widest: float, form: str) -> str:
    """Draw a matrix with its values written into the cells, as many as are legible."""
    count, experts = value_RE.shape
    figure, axes = _figure(WIDTH, 0.32 * count + 0.75)
    axes.imshow(value_RE, cmap="RdBu_r", vmin=centre - widest, vmax=centre + widest, aspect="auto")
    if experts <= 8:
        for row, expert in np.ndindex(value_RE.shape):
            if np.isfinite(value_RE[row, expert]):
                strong = abs(value_RE[row, expert] - centre) > 0.6 * widest
                # "#111" is not the page's text colour: cells are light on a dark page too.
                axes.text(
                    expert,
                    row,
                    form.format(value_RE[row, expert]),
                    ha="center",
                    va="center",
                    fontsize=7,
                    color="white" if strong else "#111111",
                )
    axes.set_yticks(range(count), rows)
    axes.set(title=title, xlabel="expert")
    axes.set_xticks(range(experts) if experts <= 16 else range(0, experts, -(-experts // 16)))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return to_svg(figure)


def _spread(count: int) -> list[int]:
    """Return at most `MAX_LAYERS` places among `count`, spread evenly, with the first and the last."""
    places: list[int] = np.unique(np.linspace(0, count - 1, min(count, MAX_LAYERS)).astype(int)).tolist()
    return places


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()
