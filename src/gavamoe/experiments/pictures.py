"""Pictures of a comparison: metrics by how much is known of the user, and by the sizes of GaVaMoE that were tried."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gavamoe.evaluation.plots import COLOURS, STYLE
from gavamoe.evaluation.report import LABELS
from gavamoe.experiments.recipe import Recipe
from gavamoe.experiments.results import Line, Table
from gavamoe.experiments.variants import settings_of

METRICS = ("BLEU-4", "rouge_l/f_score", "RMSE")
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
    return drawn


def sizes(table: Table, recipe: Recipe, key: str) -> list[tuple[int, Line]]:
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
    figure, panels = _panels(len(METRICS))
    groups = list(next(iter(table.lines)).groups)
    for axes, metric in zip(panels, METRICS, strict=True):
        for place, line in enumerate(table.lines):
            points = [
                (at, line.groups[group][metric]) for at, group in enumerate(groups) if metric in line.groups[group]
            ]
            if points:
                colour, style = COLOURS[place % len(COLOURS)], STYLES[place // len(COLOURS) % len(STYLES)]
                width = 2.2 if line.model == table.subject else 1.1
                x, y = zip(*points, strict=True)
                axes.plot(x, y, style, marker="o", markersize=3, color=colour, linewidth=width, label=line.model)
        axes.set(title=LABELS.get(metric, metric), xlabel="training reviews of the user")
        axes.set_xticks(range(len(groups)), groups)
    handles = {
        label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside right upper")
    return figure


@rc_context(STYLE)
def by_size(name: str, points: Sequence[tuple[int, Line]]) -> Figure:
    """A panel a metric: mean and spread over seeds by the setting's value."""
    figure, panels = _panels(len(METRICS))
    for axes, metric in zip(panels, METRICS, strict=True):
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
