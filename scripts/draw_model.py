"""Draw the picture of the model that README.md and docs/ show: `python scripts/draw_model.py`.

Writes docs/img/model-light.svg and docs/img/model-dark.svg. With `--png DIR` it writes PNG files for a quick look.

    reviews -> stage 1: encoder -> z under a mixture prior -> decoder -> rating
                                      |
                                      cluster of the pair
                                      v
               stage 2: prompt with soft tokens -> attention -> gate of the cluster -> experts -> explanation
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import Ellipse, FancyArrowPatch, FancyBboxPatch

WIDTH, HEIGHT = 132.0, 76.0  # drawing units; one unit is a tenth of an inch
IMAGES = Path(__file__).parents[1] / "docs" / "img"


@dataclass(frozen=True)
class Colours:
    """The colours of one version of the picture."""

    paper: str
    panel: str
    box: str
    edge: str
    ink: str
    soft: str
    clusters: tuple[str, ...]
    accent: str  # of the soft tokens
    tint: float  # opacity of a filled colour


LIGHT = Colours(
    paper="#ffffff",
    panel="#f6f8fa",
    box="#ffffff",
    edge="#c9d1d9",
    ink="#1f2328",
    soft="#59636e",
    clusters=("#0072b2", "#d55e00", "#009e73"),
    accent="#8250df",
    tint=0.16,
)
DARK = Colours(
    paper="#0d1117",
    panel="#151b23",
    box="#0d1117",
    edge="#3d444d",
    ink="#f0f6fc",
    soft="#9198a1",
    clusters=("#58a6e0", "#f0883e", "#3fc79a"),
    accent="#bc8cff",
    tint=0.24,
)
ACTIVE = 1  # the cluster of the example pair
EXAMPLE = (78.5, 58.0)  # the latent of the example pair; its gate stands below it


class Picture:
    """A canvas in drawing units with the few shapes that the picture needs."""

    def __init__(self, colours: Colours) -> None:
        self.colours = colours
        self.figure = plt.figure(figsize=(WIDTH / 10, HEIGHT / 10), facecolor=colours.paper)
        self.axes: Any = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT))
        self.axes.axis("off")

    def box(self, x: float, y: float, width: float, height: float, text: str = "", **style: Any) -> None:
        """Draw a rounded box with its lower left corner at (x, y), and a text in its middle."""
        size, bold = style.pop("size", 12), style.pop("bold", False)
        face, edge = style.pop("face", self.colours.box), style.pop("edge", self.colours.edge)
        ink = style.pop("ink", self.colours.ink)
        shape = {
            "boxstyle": f"round,pad=0,rounding_size={style.pop('round', 1.1)}",
            "linewidth": style.pop("line", 1.3),
        }
        self.axes.add_patch(FancyBboxPatch((x, y), width, height, facecolor=face, edgecolor=edge, **shape, **style))
        if text:
            self.text(x + width / 2, y + height / 2, text, size, ink, bold=bold)

    def text(self, x: float, y: float, text: str, size: float = 12, ink: str | None = None, **style: Any) -> None:
        """Write a text; its middle is at (x, y) where `ha` does not say otherwise."""
        weight = "bold" if style.pop("bold", False) else "normal"
        place = {"ha": "center", "va": "center", "linespacing": 1.35, **style}
        self.axes.text(x, y, text, fontsize=size, color=ink or self.colours.ink, weight=weight, **place)

    def arrow(self, start: tuple[float, float], end: tuple[float, float], **style: Any) -> None:
        """Draw an arrow; `path` is matplotlib's connection style."""
        path = style.pop("path", "arc3,rad=0")
        look = {"color": self.colours.soft, "linewidth": 1.5, "arrowstyle": "-|>", "mutation_scale": 13, **style}
        look |= {"shrinkA": 0, "shrinkB": 0, "joinstyle": "miter"}
        self.axes.add_patch(FancyArrowPatch(start, end, connectionstyle=path, **look))

    def tint(self, colour: str) -> tuple[float, float, float, float]:
        """Return the light fill that goes with a colour."""
        return (*matplotlib.colors.to_rgb(colour), self.colours.tint)


def draw(colours: Colours) -> Picture:
    """Draw the whole picture in these colours."""
    picture = Picture(colours)
    _reviews(picture)
    _stage_one(picture)
    _stage_two(picture)
    _between(picture)
    return picture


def _reviews(picture: Picture) -> None:
    soft = picture.colours.soft
    picture.box(2, 2, 27, 72, face=picture.colours.panel, line=1)
    picture.text(4, 71, "Reviews", 15, bold=True, ha="left")
    for bottom, head, words in (
        (54.2, "user 07 · item 18 · ★★★★★", "“simply wonderful , and the\nacting is superb .”"),
        (40.2, "user 21 · item 03 · ★★★★☆", "“well worth seeing , because\nof the gripping story .”"),
        (26.2, "user 59 · item 00 · ★★☆☆☆", "“hard to recommend , the\nmusic is intrusive .”"),
        (12.2, "user 12 · item 18 · ★★★☆☆", "“a mixed evening , despite\nthe superb acting .”"),
    ):
        picture.box(3.5, bottom, 24, 11.3)
        picture.text(4.8, bottom + 8.6, head, 10.5, soft, ha="left")
        picture.text(4.8, bottom + 4.2, words, 10.5, ha="left")
    picture.text(15.5, 7.2, "⋮", 18, soft)


def _stage_one(picture: Picture) -> None:
    colours = picture.colours
    picture.box(35, 40, 95, 34, face=colours.panel, line=1)
    picture.text(37, 71, "Stage 1", 15, bold=True, ha="left")
    picture.text(
        47.8, 71, "variational autoencoder of ratings with a Gaussian-mixture prior", 12.5, colours.soft, ha="left"
    )
    for y, name in ((58, "user u"), (50, "item i")):
        picture.box(37, y - 2.8, 11, 5.6, name)
        picture.arrow((48, y), (52, y + (0.3 if y < 54 else -0.3)))
    picture.box(52, 46, 12.5, 16, "encoder")
    picture.arrow((64.5, 54), (72, 54))
    picture.text(68.2, 56.2, "μ, σ", 12)
    _mixture(picture, 72, 43, 26, 25)
    picture.arrow((98, 54), (104, 54))
    picture.text(101, 56.2, "z", 12, style="italic")
    picture.box(104, 46, 11.5, 16, "decoder")
    picture.arrow((115.5, 54), (119, 54))
    heights = (0.6, 1.0, 2.2, 6.2, 9.4)
    for level, height in enumerate(heights):
        x = 119.6 + 1.85 * level
        picture.box(x, 48.5, 1.35, height, face=colours.soft, edge=colours.soft, round=0.2, line=0)
        picture.text(x + 0.67, 46.8, str(level + 1), 9.5, colours.soft)
    picture.text(124.2, 61.5, "p(rating | z)", 11.5)


def _mixture(picture: Picture, x: float, y: float, width: float, height: float) -> None:
    """Draw the latent space: three Gaussian components, and the latents of pairs around them."""
    colours, draws = picture.colours, np.random.default_rng(3)
    picture.box(x, y, width, height)
    for cluster, (middle, spread, angle) in enumerate(
        (((0.72, 0.64), (3.9, 2.5), -28.0), ((0.26, 0.64), (3.5, 2.6), 35.0), ((0.61, 0.22), (4.9, 2.0), 5.0))
    ):
        centre = np.array([x + middle[0] * width, y + 1 + middle[1] * (height - 4)])
        turn = np.deg2rad(angle)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        points = centre + (draws.normal(size=(26, 2)).clip(-1.7, 1.7) * np.array(spread) / 2.05) @ rotation.T
        for scale, opacity in ((2.0, colours.tint * 0.6), (1.15, colours.tint)):
            shape = {"width": scale * 2 * spread[0] / 1.25, "height": scale * 2 * spread[1] / 1.25, "angle": angle}
            shade = Ellipse(tuple(centre), facecolor=colours.clusters[cluster], alpha=opacity, linewidth=0, **shape)
            picture.axes.add_patch(shade)
        picture.axes.scatter(*points.T, s=9, color=colours.clusters[cluster], linewidths=0)
    ring = {"s": 60, "facecolors": colours.box, "edgecolors": colours.clusters[ACTIVE], "linewidths": 2.2}
    picture.axes.scatter(*EXAMPLE, zorder=5, **ring)
    picture.text(x + width / 2, y + height - 1.9, "latent z of each (user, item) pair", 10.5, colours.soft)


def _stage_two(picture: Picture) -> None:
    colours = picture.colours
    picture.box(35, 2, 95, 34, face=colours.panel, line=1)
    picture.text(37, 4.8, "Stage 2", 15, bold=True, ha="left")
    picture.text(
        47.8, 4.8, "causal language model with multi-gate mixture-of-experts layers", 12.5, colours.soft, ha="left"
    )
    for row, (name, soft_token) in enumerate(
        (
            ("user vector", True),
            ("item vector", True),
            ("rating 5", False),
            ("feature acting", False),
            ("explain", False),
        )
    ):
        face = picture.tint(colours.accent) if soft_token else colours.box
        edge = colours.accent if soft_token else colours.edge
        picture.box(37, 28.6 - 5.0 * row, 14.8, 4.1, name, face=face, edge=edge, size=11)
    picture.text(44.4, 34.2, "prompt", 10.5, colours.soft)
    picture.arrow((51.8, 20.6), (56.5, 20.6))
    picture.box(54.4, 7.9, 55, 26.2, face="none", linestyle=(0, (4, 3)), line=1.1)
    picture.text(61.8, 32, "each layer", 10.5, colours.soft)
    picture.box(56.5, 12.6, 10.6, 16, "self-\nattention")
    picture.arrow((67.1, 20.6), (71, 20.6))
    _experts(picture, 71, 9.2, 37, 23.4)
    picture.arrow((108, 20.6), (113, 20.6))
    picture.box(113, 12.6, 15.4, 16, "“a fine evening ,\nand the acting\nis superb .”", size=11)
    picture.text(120.7, 30.4, "explanation", 11.5)


def _experts(picture: Picture, x: float, y: float, width: float, height: float) -> None:
    """Draw one layer: the gate of the pair's cluster routes each token to its top-k experts, beside the shared ones."""
    colours = picture.colours
    picture.box(x, y, width, height)
    picture.text(x + 7.5, y + height - 1.9, "gate per cluster", 10.5, colours.soft)
    picture.text(x + 27.5, y + height - 1.9, "one set of experts, top-k", 10, colours.soft)
    places = [y + 15.2, y + 9.1, y + 3.0]
    for cluster, bottom in zip((0, 1, 2), places, strict=True):
        active = cluster == ACTIVE
        edge = colours.clusters[cluster]
        face = picture.tint(edge) if active else colours.box
        picture.box(x + 2, bottom, 11, 4.6, f"gate {cluster + 1}", face=face, edge=edge, line=2.2 if active else 1.2)
    chosen, mark = {1, 3, 4, 6}, colours.clusters[ACTIVE]
    for expert in range(8):
        left, bottom = x + 20.6 + 3.9 * (expert % 4), y + (12.0 if expert < 4 else 5.0)
        on = expert in chosen
        face, edge = (picture.tint(mark), mark) if on else (colours.box, colours.edge)
        picture.box(left, bottom, 3.2, 5.2, str(expert + 1), face=face, edge=edge, line=1.9 if on else 1.2, size=10.5)
    shared = picture.tint(colours.clusters[ACTIVE])
    picture.box(x + 20.6, y + 1.2, 14.9, 2.8, "shared experts", face=shared, line=1.2, size=9.5)
    start = (x + 13, places[1] + 2.3)
    end = (x + 19.6, places[1] + 2.3)
    picture.arrow(start, end, color=mark, linewidth=2.2)


def _between(picture: Picture) -> None:
    """Draw what goes from one part to another: reviews into stage 1, vectors and cluster into stage 2."""
    colours = picture.colours
    mark = colours.clusters[ACTIVE]
    picture.arrow((29, 54), (35, 54), linewidth=2)
    picture.text(32, 56.2, "ratings", 10.5, colours.soft)
    picture.arrow((29, 20.6), (35, 20.6), linewidth=2)
    picture.text(32, 22.8, "texts", 10.5, colours.soft)
    picture.arrow((42.5, 47.2), (42.5, 36.0), color=colours.accent, linewidth=2.2)
    picture.text(43.9, 38, "soft tokens", 11.5, colours.accent, ha="left", bold=True)
    picture.arrow((EXAMPLE[0], EXAMPLE[1] - 0.9), (EXAMPLE[0], 32.6), color=mark, linewidth=2.2)
    picture.text(EXAMPLE[0] + 1.4, 38, "cluster of the pair: argmax γ at z = μ", 11.5, mark, ha="left", bold=True)


def main() -> None:
    """Write both versions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--png", type=Path, help="directory for PNG files")
    png = parser.parse_args().png
    # A fixed salt and no date: the same script writes the same bytes.
    matplotlib.rcParams.update({"svg.hashsalt": "gavamoe", "font.family": "DejaVu Sans"})
    for name, colours in (("light", LIGHT), ("dark", DARK)):
        figure = draw(colours).figure
        if png is not None:
            figure.savefig(png / f"model-{name}.png", dpi=110, facecolor=colours.paper)
        else:
            IMAGES.mkdir(parents=True, exist_ok=True)
            figure.savefig(IMAGES / f"model-{name}.svg", facecolor=colours.paper, metadata={"Date": None})


if __name__ == "__main__":
    main()
