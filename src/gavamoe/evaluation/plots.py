"""The report's pictures, as inline SVG: the latent map, loss curves, expert use per cluster."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

matplotlib.rcParams.update(
    {
        "svg.hashsalt": "gavamoe",  # the same picture twice is the same file twice
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.facecolor": "white",
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
    }
)
# Okabe and Ito's colours, which colour-blind readers can tell apart, then more for many clusters.
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6D31", "#666666", "#7A5195", "#B5BD00"]


def latent_map(points: np.ndarray, labelled: dict[str, np.ndarray]) -> Figure:
    """Pairs in two dimensions [N, 2], once per labelling (clusters found; groups known), each with its legend."""
    figure = Figure(figsize=(5.2 * len(labelled), 4.4), layout="constrained")
    for place, (title, labels) in enumerate(labelled.items(), start=1):
        axes = figure.add_subplot(1, len(labelled), place)
        for label in np.unique(labels):
            of_label = points[labels == label]
            colour = COLOURS[int(label) % len(COLOURS)]
            axes.scatter(of_label[:, 0], of_label[:, 1], s=7, alpha=0.55, linewidths=0, color=colour, label=str(label))
        axes.set(title=title, xticks=[], yticks=[], xlabel="first principal axis", ylabel="second")
        axes.legend(
            frameon=False, markerscale=2.5, loc="upper left", bbox_to_anchor=(1, 1), title="cluster", fontsize=8
        )
    return figure


def loss_curves(records: dict[str, list[dict[str, Any]]]) -> Figure:
    """Both stages' training: stage 1 by epoch (RMSE, in levels), stage 2 by epoch (loss per token, nats)."""
    figure = Figure(figsize=(9.6, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    stage1 = records.get("preference", [])
    epochs = np.arange(1, len(stage1) + 1)
    left.plot(epochs, [record["valid_rmse"] for record in stage1], color=COLOURS[0], label="validation RMSE")
    switch = sum(record["phase"] == "pretrain" for record in stage1)
    if 0 < switch < len(stage1):
        left.axvline(switch + 0.5, color="#999999", linewidth=1, linestyle=":")
        left.annotate(" prior joins", (switch + 0.5, left.get_ylim()[1]), fontsize=8, color="#666666", va="top")
    left.set(title="Stage 1: ratings", xlabel="epoch", ylabel="RMSE (levels)")
    stage2 = records.get("explainer", [])
    for key, name, colour in (("loss", "training", COLOURS[4]), ("eval_loss", "validation", COLOURS[5])):
        curve = [(record["epoch"], record[key]) for record in stage2 if key in record]
        if curve:
            right.plot(
                *zip(*curve, strict=True), color=colour, label=name, marker="o" if key == "eval_loss" else None, ms=4
            )
    right.set(title="Stage 2: texts", xlabel="epoch", ylabel="loss (nats a token)")
    right.legend(frameon=False)
    return figure


def expert_use(share_CLE: np.ndarray) -> Figure:
    """Share of each expert by cluster (rows) and layer (panels), [clusters, layers, experts]; even use is 1/E."""
    clusters, layers, experts = share_CLE.shape
    figure = Figure(figsize=(max(6.0, 2.9 * layers + 0.8), 0.8 + 0.42 * clusters + 0.6), layout="constrained")
    panels = figure.subplots(1, layers, sharey=True, squeeze=False)[0]
    for layer, axes in enumerate(panels):
        image = axes.imshow(
            share_CLE[:, layer], cmap="cividis", vmin=0, vmax=max(2.5 / experts, share_CLE.max()), aspect="auto"
        )
        axes.set(title=f"layer {layer + 1}", xlabel="expert", xticks=range(experts), yticks=range(clusters))
        axes.spines[:].set_visible(False)
    panels[0].set_ylabel("cluster")
    figure.colorbar(image, ax=list(panels), label="share of choices", shrink=0.9)
    return figure


def to_svg(figure: Figure) -> str:
    """The figure as SVG markup to stand inside a page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()[buffer.getvalue().index("<svg") :]


def save_png(figure: Figure, path: Path) -> None:
    """The figure as a PNG file."""
    figure.savefig(path, dpi=150)


def two_dimensions(latent_ND: np.ndarray) -> np.ndarray:
    """The two principal axes of the latents, [N, 2]."""
    centred = latent_ND - latent_ND.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    return centred @ axes[:2].T


def shares(counts_NLE: np.ndarray, cluster_N: np.ndarray, clusters: int) -> np.ndarray:
    """Expert counts of texts [N, layers, experts] summed by cluster, as shares [clusters, layers, experts]."""
    sums = np.zeros((clusters, *counts_NLE.shape[1:]))
    np.add.at(sums, cluster_N, counts_NLE)
    return sums / np.maximum(sums.sum(-1, keepdims=True), 1)
