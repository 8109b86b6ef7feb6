"""Figures of the report: the latent map, the loss curves, the calibration of ratings, and expert usage per cluster.

This module imports matplotlib, so only code that draws imports it. No figure uses pyplot or changes global settings.
Shape legend: N pairs or texts, R rating levels, D latent dimensions, C clusters, L layers, E experts.
"""

from __future__ import annotations

import io
from itertools import count, filterfalse
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.optimize import linear_sum_assignment

from gavamoe.probability_bins import sums_by_bin

# `to_svg` replaces this colour with the page's text colour, so that a figure suits a light and a dark page.
INK = "#1c2430"
STYLE = {
    "svg.hashsalt": "gavamoe",  # the same figure always gives the same file
    "svg.fonttype": "none",  # text stays text: searchable, and in the page's font
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.facecolor": "none",
    "legend.frameon": False,
}
# The palette of Okabe and Ito, which colour-blind readers can distinguish, then more colours for many clusters.
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6D31", "#888888", "#7A5195", "#B5BD00"]
TRAINING, VALIDATION = COLOURS[4], COLOURS[5]

Records = list[dict[str, Any]]  # Any: JSON values of training.json


@rc_context(STYLE)
def latent_map(points: np.ndarray, labelled: dict[str, np.ndarray], axis_names: tuple[str, str]) -> Figure:
    """Draw (user, item) pairs in two dimensions, one panel per labelling.

    Args:
        points: coordinates, [N, 2].
        labelled: labels of the points by panel title (clusters found; true groups), [N] each. A label of a further
            panel has the colour of the first panel's label that it shares most points with.
        axis_names: what the two dimensions are.
    """
    figure, row = panels(len(labelled), width=4.8, height=4.2)
    # Points are drawn in random order: in cluster order, the last cluster would cover the others.
    order = np.random.default_rng(0).permutation(len(points))
    first = next(iter(labelled.values()))
    for axes, (title, labels) in zip(row, labelled.items(), strict=True):
        colour_of = _matching_colours(labels, first)
        colours = np.array([colour_of[label] for label in labels.tolist()])
        # Only the points are rasterized: thousands of vector points would take a megabyte.
        axes.scatter(
            points[order, 0], points[order, 1], c=colours[order], s=8, alpha=0.6, linewidths=0, rasterized=True
        )
        for label, colour in colour_of.items():
            axes.scatter([], [], s=30, color=colour, label=str(label))
        axes.set(title=title, xticks=[], yticks=[], xlabel=axis_names[0], ylabel=axis_names[1])
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), handletextpad=0.2)
    return figure


def _matching_colours(label_N: np.ndarray, first_N: np.ndarray) -> dict[int, str]:
    """Return the colour of each label: that of the label in `first_N` that is matched to it, by most common points."""
    labels, others = np.unique(label_N), np.unique(first_N)
    common = np.array([[np.sum((label_N == label) & (first_N == other)) for other in others] for label in labels])
    rows, columns = linear_sum_assignment(-common)
    number = dict(zip(labels[rows].tolist(), others[columns].tolist(), strict=True))
    free = filterfalse(set(others.tolist()).__contains__, count())
    number |= {label: next(free) for label in labels.tolist() if label not in number}
    return {label: COLOURS[int(number[label]) % len(COLOURS)] for label in labels.tolist()}


@rc_context(STYLE)
def loss_curves(records: dict[str, Records]) -> Figure:
    """Draw the training curves: stage 1's objective (nats per rating) and RMSE, stage 2's loss (nats per token).

    Args:
        records: the records of training.json by stage, "preference" and "explainer".
    """
    stage2 = records.get("explainer", [])
    stage1 = [record for record in records.get("preference", []) if record["phase"] != "text"]
    figure, (objective, error, *of_texts) = panels(3 if stage2 else 2, width=3.3, height=2.8)
    epochs = [{**record, "epoch": epoch} for epoch, record in enumerate(stage1, start=1)]
    _curve(objective, epochs, "train_loss", "training", TRAINING)
    _curve(objective, epochs, "valid_objective", "validation", VALIDATION)
    _curve(error, epochs, "valid_rmse", "validation", VALIDATION)
    _mark_joint_training(objective, stage1)
    _mark_joint_training(error, stage1)
    objective.set(title="Stage 1: objective", ylabel="nats per rating")
    error.set(title="Stage 1: error of ratings", ylabel="RMSE, levels")
    for texts in of_texts:
        _curve(texts, stage2, "loss", "training", TRAINING)
        _curve(texts, stage2, "eval_loss", "validation", VALIDATION, marker="o")
        _limit_to_later_losses(texts, stage2)
        texts.set(title="Stage 2: loss of texts", ylabel="nats per token")
    for axes in (objective, error, *of_texts):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    return figure


@rc_context(STYLE)
def reliability(distribution_NR: np.ndarray, level_N: np.ndarray) -> Figure:
    """Draw the observed frequency of rating levels by their predicted probability; the area of a point is its size.

    Args:
        distribution_NR: predicted probability of each rating level, [N, R].
        level_N: true levels 1..R, [N].
    """
    p = distribution_NR.ravel()
    occurred = (np.arange(1, distribution_NR.shape[1] + 1) == level_N[:, None]).ravel()
    count, *sums = (sums_by_bin(p, values) for values in (np.ones(len(p)), p, occurred))
    predicted, observed = (sum_B / np.maximum(count, 1) for sum_B in sums)
    figure, (axes,) = panels(1, width=4.2, height=3.6)
    axes.plot([0, 1], [0, 1], color="#888888", linewidth=1, linestyle=":")
    known = count > 0
    axes.plot(predicted[known], observed[known], color=COLOURS[0], linewidth=1.2)
    axes.scatter(predicted[known], observed[known], s=8 + 120 * count[known] / count.max(), color=COLOURS[0])
    axes.set(xlabel="predicted probability of a level", ylabel="observed frequency", xlim=(0, 1), ylim=(0, 1))
    return figure


@rc_context(STYLE)
def expert_usage(share_CLE: np.ndarray) -> Figure:
    """Draw the share of routing choices per expert, by cluster (rows) and layer (panels); even usage is white.

    Args:
        share_CLE: shares that sum to 1 over experts, [C, L, E].
    """
    clusters, layers, experts = share_CLE.shape
    width = max(1.8, 0.26 * experts + 0.4)
    figure, row = panels(layers, width=width, height=0.34 * clusters + 1.1, sharey=True)
    even = 1 / experts
    widest = max(np.abs(share_CLE - even).max(), even / 2)
    for layer, axes in enumerate(row, start=1):
        image = axes.imshow(
            share_CLE[:, layer - 1], cmap="RdBu_r", vmin=even - widest, vmax=even + widest, aspect="auto"
        )
        axes.set(title=f"layer {layer}", xlabel="expert", yticks=range(clusters))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
    row[0].set_ylabel("cluster")
    bar = figure.colorbar(image, ax=row, label="share of choices", format=lambda share, _: f"{share:.0%}")
    bar.ax.set_ylim(bottom=max(0.0, even - widest))
    bar.outline.set_visible(False)
    return figure


@rc_context(STYLE)
def to_svg(figure: Figure) -> str:
    """Return the figure as SVG markup for use inside a page, in the page's text colour on a transparent background."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True, dpi=120)
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :].replace(INK, "currentColor")


def save_png(figure: Figure, path: Path) -> None:
    """Write the figure as a PNG file on a white background."""
    figure.savefig(path, dpi=150, facecolor="white")


def panels(
    count: int, width: float, height: float, extra: float = 0, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """Return a figure of panels in a row, and the panels.

    Args:
        count: number of panels.
        width, height: of a panel, in inches.
        extra: further width of the figure, for a legend beside the panels.
        sharey: whether the panels share the y axis.
    """
    figure = Figure(figsize=(width * count + extra, height), layout="constrained")
    return figure, list(figure.subplots(1, count, squeeze=False, sharey=sharey)[0])


def _curve(axes: Axes, records: Records, key: str, name: str, colour: str, marker: str | None = None) -> None:
    """Draw one value of the records by epoch, from the records that have it."""
    points = [(record["epoch"], record[key]) for record in records if key in record]
    if points:
        axes.plot(*zip(*points, strict=True), color=colour, label=name, linewidth=1.2, marker=marker, markersize=4)


def _mark_joint_training(axes: Axes, stage1: Records) -> None:
    """Draw a line after the last epoch of pretraining, where training with the mixture prior begins."""
    epochs = sum(record["phase"] == "pretrain" for record in stage1)
    if 0 < epochs < len(stage1):
        axes.axvline(epochs + 0.5, color="#888888", linewidth=1, linestyle=":")
        axes.annotate(" prior joins", (epochs + 0.5, 0.98), xycoords=("data", "axes fraction"), va="top", fontsize=8)


def _limit_to_later_losses(axes: Axes, records: Records) -> None:
    """Limit the y axis to losses after the first tenth of training; the initial drop would flatten the rest."""
    losses = [record["loss"] for record in records if "loss" in record]
    shown = losses[len(losses) // 10 :] + [record["eval_loss"] for record in records if "eval_loss" in record]
    if shown:
        margin = 0.05 * (max(shown) - min(shown)) or 0.1
        axes.set_ylim(min(shown) - margin, max(shown) + margin)
