"""The data card for people: card.md with three plots."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gavamoe.markdown import markdown_table

FIGURE_INCHES, DOTS_PER_INCH = (5.0, 3.2), 110
BLUE, ORANGE, GREY = "tab:blue", "tab:orange", "0.35"
MAX_LABELLED, MAX_LENGTH, MAX_FINE_TICKS = 11, 200, 1000


def write_card_page(directory: Path, card: dict[str, Any]) -> None:
    """Write card.md, ratings.png, sparsity.png and lengths.png into the dataset's directory."""
    _plot_ratings(directory / "ratings.png", card)
    _plot_sparsity(directory / "sparsity.png", directory)
    _plot_lengths(directory / "lengths.png", directory)
    (directory / "card.md").write_text(_page(card), encoding="utf-8")


def _page(card: dict[str, Any]) -> str:
    """Return the Markdown text of the card."""
    counts, splits, features = card["counts"], card["splits"], card["features"]
    scale = ", ".join(f"{value:g}" for value in card["scale"]["values"])
    sources = [
        (
            source["name"],
            source["format"],
            ", ".join(f"{k} = {v}" for k, v in source["columns"].items()),
            source["sha256"][:12],
        )
        for source in card["sources"]
    ]
    found = [(name, count) for name, count in card["reading"].items() if isinstance(count, int)]
    dropped = list(card["filters"]["dropped"].items())
    seed = f", seed {splits['seed']}" if splits["method"] == "random" else ""
    sizes = [
        (name, size, splits["unknown users"].get(name, 0), splits["unknown items"].get(name, 0))
        for name, size in splits["sizes"].items()
    ]
    sparsity = [
        (f"reviews {which}", *(f"{n:g}" for n in quantiles.values())) for which, quantiles in card["sparsity"].items()
    ]
    shares = [f"{float(share):.0%}" for share in card["sparsity"]["per user"]]
    return "\n".join(
        [
            "# Data card",
            "",
            f"{counts['reviews']:,} reviews by {counts['users']:,} known users of {counts['items']:,} known items "
            f"(density {counts['density']:.2%}); {counts['with_text']:,} have a text; the mean text has "
            f"{counts['mean_words']:.0f} words; {card['items']['described']:,} items are described.",
            "",
            f"Ratings {scale} are the levels 1..{card['scale']['levels']}. "
            f"Features: {features['count']:,} ({features['method']}), in {counts['with_feature']:,} reviews.",
            "",
            "## Sources",
            "",
            _table(("file", "format", "columns", "SHA-256"), sources),
            "",
            "## Reading and filters",
            "",
            _table(("what", "reviews"), [*found, *((f"dropped: {name}", count) for name, count in dropped)]),
            *_notes(card),
            "",
            f"## Splits ({splits['method']}{seed})",
            "",
            _table(("split", "reviews", "by unknown users", "of unknown items"), sizes),
            "",
            "## Sparsity (quantiles over training records)",
            "",
            _table(("", *shares), sparsity),
            "",
            "![ratings](ratings.png) ![reviews per user and item](sparsity.png) ![lengths](lengths.png)",
            "",
        ]
    )


def _notes(card: dict[str, Any]) -> list[str]:
    """Return the lines that say how values were understood, and what looks wrong."""
    notes = [f"- {column}: {note}" for column, note in card.get("notes", {}).items()]
    warnings = [f"- Warning: {warning}." for warning in card.get("warnings", ())]
    return ["", *notes, *warnings] if notes or warnings else []


def _table(header: Sequence[str], rows: Iterable[Sequence[str | int]]) -> str:
    """Return a Markdown table, with thousands separators in the numbers."""
    return markdown_table(header, [[f"{cell:,}" if isinstance(cell, int) else cell for cell in row] for row in rows])


def _plot_ratings(path: Path, card: dict[str, Any]) -> None:
    """Draw the histogram of the rating levels."""
    names = [f"{value:g}" for value in card["scale"]["values"]]
    counts = [card["ratings"].get(str(level), 0) for level in range(1, len(names) + 1)]
    figure, axes = _figure("Ratings", "rating", "reviews")
    bars = axes.bar(names, counts, color=BLUE)
    if len(names) <= MAX_LABELLED:
        shares = [count / max(sum(counts), 1) for count in counts]
        axes.bar_label(bars, ["<1%" if 0 < share < 0.005 else f"{share:.0%}" for share in shares], color=GREY)
    figure.savefig(path)


def _plot_sparsity(path: Path, directory: Path) -> None:
    """Draw the share of users, and of items, with at least n training records."""
    from matplotlib.ticker import LogLocator

    figure, axes = _figure("Training records of a user, of an item", "records", "share with at least as many")
    for name, color in (("users", BLUE), ("items", ORANGE)):
        table = pl.read_parquet(directory / f"{name}.parquet", columns=["n_train"], glob=False)
        counts = table["n_train"].to_numpy()
        records, first = np.unique(np.sort(counts), return_index=True)
        # where="pre": the curve keeps its height up to each count, since all users with that count are still included.
        axes.step(records, 1 - first / max(len(counts), 1), where="pre", label=name, color=color)
    # Ticks at 1, 2 and 5 of each decade where there is room: the default labels a short axis in powers of ten.
    room = axes.get_xlim()[1] < MAX_FINE_TICKS
    axes.set_xscale("log", subs=[])
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if room else (1,)))
    axes.set_yscale("log", subs=[])
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.3%}".rstrip("0%").rstrip(".") + "%")
    axes.legend(frameon=False)
    figure.savefig(path)


def _plot_lengths(path: Path, directory: Path) -> None:
    """Draw the histogram of the text lengths."""
    words = pl.col("words").clip(upper_bound=MAX_LENGTH)
    rows = pl.scan_parquet(directory / "interactions.parquet", glob=False)
    found = rows.group_by(words).agg(pl.len()).sort("words").collect(engine="streaming")
    open_ended = f" ({MAX_LENGTH} and more together)" if found["words"].max() == MAX_LENGTH else ""
    figure, axes = _figure("Lengths of the texts", f"words{open_ended}", "reviews")
    axes.bar(*found.to_numpy().T, width=1.0, color=BLUE)
    axes.set_xlim(left=-0.5)
    figure.savefig(path)


def _figure(title: str, x: str, y: str) -> tuple[Any, Any]:
    """Create a figure with one set of axes; matplotlib is untyped, hence Any."""
    from matplotlib.figure import Figure  # not pyplot, which has global state and may open windows
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=FIGURE_INCHES, dpi=DOTS_PER_INCH)
    # Fixed margins: a layout engine would take as long as the drawing.
    figure.subplots_adjust(left=0.15, right=0.97, bottom=0.16, top=0.91)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize="medium", y=1.0)  # a given height needs no layout of the tick labels
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))  # 12k, 3M: the same width for any number of reviews
    return figure, axes
