"""Pictures of a comparison: metrics by how much is known of the user and by the sizes of GaVaMoE, losses by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gavamoe.evaluation.plots import COLOURS, STYLE
from gavamoe.evaluation.report import LABELS
from gavamoe.experiments.ablations import settings_of
from gavamoe.experiments.aggregate import SystemResult, Table
from gavamoe.experiments.config import Recipe
from gavamoe.experiments.grids import BY_GROUP

SIZES = {
    "number of clusters": "preference.clusters",
    "number of experts": "explainer.experts",
    "granularity": "explainer.granularity",
}
STYLES = ("-", "--", ":")


def pictures(tables: list[Table], recipe: Recipe) -> dict[str, Figure]:
    """By title; of the conditions without ground truth, and only what the systems at hand can show."""
    drawn: dict[str, Figure] = {}
    for table in tables:
        if table.condition.oracle:
            continue
        told = f"rating {table.condition.rating}, feature {table.condition.feature}"
        drawn[f"By training reviews of the user ({told})"] = by_sparsity(table)
        for name, key in SIZES.items():
            points = sizes(table, recipe, key)
            if len(points) > 1:
                drawn[f"By {name} ({told})"] = by_size(name, points)
    if tables and any(len(line.losses) > 1 for line in tables[0].lines):
        drawn["Validation loss by epoch"] = by_epoch(tables[0])
    return drawn


def sizes(table: Table, recipe: Recipe, key: str) -> list[tuple[int, SystemResult]]:
    """The lines of ours that differ in this one setting, with its value."""
    step, name = key.split(".")
    points = []
    for line in table.lines:
        changed = settings_of(line.model, recipe)
        if changed is not None and set(changed) <= {key}:
            points.append((int(getattr(getattr(recipe.config(0, changed), step), name)), line))
    return sorted(points, key=lambda point: point[0])


@rc_context(STYLE)
def by_sparsity(table: Table) -> Figure:
    """A panel a metric, a curve a system, over groups of users."""
    figure, panels = _panels(len(BY_GROUP))
    groups = list(next(iter(table.lines)).groups)
    for axes, metric in zip(panels, BY_GROUP, strict=True):
        for place, line in enumerate(table.lines):
            points = [
                (at, line.groups[group][metric]) for at, group in enumerate(groups) if metric in line.groups[group]
            ]
            if points:
                x, y = zip(*points, strict=True)
                axes.plot(x, y, **_drawn(place, line.model == table.subject), label=line.model)
        axes.set(title=LABELS.get(metric, metric), xlabel="training reviews of the user")
        axes.set_xticks(range(len(groups)), groups)
    handles = {
        label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside right upper")
    return figure


@rc_context(STYLE)
def by_epoch(table: Table) -> Figure:
    """A curve a system: validation loss of the texts, mean over seeds."""
    figure, (axes,) = _panels(1)
    for place, line in enumerate(table.lines):
        if line.losses:
            epochs = range(1, len(line.losses) + 1)
            drawn = _drawn(place, line.model == table.subject)
            axes.plot(epochs, [loss.mean for loss in line.losses], **drawn, label=line.model)
    axes.set(xlabel="epoch, phases one after the other", ylabel="nats a token")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside right upper")
    return figure


def _drawn(place: int, subject: bool) -> dict[str, Any]:
    """How the system at a place of the table is drawn, in every picture alike."""
    return {
        "color": COLOURS[place % len(COLOURS)],
        "linestyle": STYLES[place // len(COLOURS) % len(STYLES)],
        "linewidth": 2.2 if subject else 1.1,
        "marker": "o",
        "markersize": 3,
    }


@rc_context(STYLE)
def by_size(name: str, points: Sequence[tuple[int, SystemResult]]) -> Figure:
    """A panel a metric: mean and spread over seeds by the setting's value."""
    figure, panels = _panels(len(BY_GROUP))
    for axes, metric in zip(panels, BY_GROUP, strict=True):
        known = [(value, line.figures[metric]) for value, line in points if metric in line.figures]
        axes.errorbar(
            [value for value, _ in known],
            [found.mean for _, found in known],
            [found.spread or 0.0 for _, found in known],
            marker="o",
            capsize=3,
            color=COLOURS[0],
        )
        axes.set(title=LABELS.get(metric, metric), xlabel=name)
        axes.set_xticks([value for value, _ in known])
    return figure


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(3.4 * count + 1.6, 3.0), layout="constrained")
    return figure, list(figure.subplots(1, count, squeeze=False)[0])
