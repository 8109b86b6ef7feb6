"""Plots of a comparison: metrics by users' training reviews and by the sizes of GaVaMoE, and losses by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gavamoe.evaluation.plots import COLOURS, STYLE, panels
from gavamoe.evaluation.report import LABELS
from gavamoe.experiments.aggregate import SystemResult, Table
from gavamoe.experiments.grids import describe_condition, metrics_by_group
from gavamoe.experiments.systems import SystemSpec

SIZES = {
    "number of clusters": "preference.clusters",
    "number of experts": "explainer.experts",
    "granularity": "explainer.granularity",
}
STYLES = ("-", "--", ":")
_panels = partial(panels, width=3.4, height=3.0, extra=1.6)


def draw_plots(tables: list[Table], specs: Sequence[SystemSpec]) -> dict[str, Figure]:
    """Return the plots by title, without those of oracles and those that the compared systems have no data for."""
    plots: dict[str, Figure] = {}
    for table in tables:
        if table.condition.oracle:
            continue
        condition = describe_condition(table)
        plots[f"By training reviews of the user ({condition})"] = by_sparsity(table)
        for name, key in SIZES.items():
            points = by_setting(table, specs, key)
            if len(points) > 1:
                plots[f"By {name} ({condition})"] = by_size(name, points, metrics_by_group(table))
    if tables and any(len(result.losses) > 1 for result in tables[0].results):
        plots["Validation loss by epoch"] = by_epoch(tables[0])
    return plots


def by_setting(table: Table, specs: Sequence[SystemSpec], key: str) -> list[tuple[int, SystemResult]]:
    """Return the variants of GaVaMoE that differ in one setting alone, with its value, in ascending order."""
    stage, name = key.split(".")
    by_name = {spec.name: spec for spec in specs}
    points = []
    for result in table.results:
        spec = by_name[result.model]
        if spec.settings is not None and set(spec.settings) <= {key}:
            points.append((int(getattr(getattr(spec.config, stage), name)), result))
    return sorted(points, key=lambda point: point[0])


@rc_context(STYLE)
def by_sparsity(table: Table) -> Figure:
    """Draw a panel per metric and a curve per system over groups of users."""
    metrics = metrics_by_group(table)
    figure, row = _panels(len(metrics))
    groups = list(table.results[0].groups)
    for axes, metric in zip(row, metrics, strict=True):
        for number, result in enumerate(table.results):
            points = [
                (x, result.groups[group][metric]) for x, group in enumerate(groups) if metric in result.groups[group]
            ]
            if points:
                x, y = zip(*points, strict=True)
                axes.plot(x, y, **_curve_style(number, result.model == table.subject), label=result.model)
        axes.set(title=LABELS.get(metric, metric), xlabel="training reviews of the user")
        axes.set_xticks(range(len(groups)), groups)
    handles = {label: handle for axes in row for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside right upper")
    return figure


@rc_context(STYLE)
def by_epoch(table: Table) -> Figure:
    """Draw a curve per system: validation loss of the texts, mean over seeds."""
    figure, (axes,) = _panels(1)
    for number, result in enumerate(table.results):
        if result.losses:
            epochs = range(1, len(result.losses) + 1)
            style = _curve_style(number, result.model == table.subject)
            axes.plot(epochs, [loss.mean for loss in result.losses], **style, label=result.model)
    axes.set(xlabel="epoch, phases one after the other", ylabel="nats a token")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside right upper")
    return figure


def _curve_style(number: int, subject: bool) -> dict[str, Any]:
    """Return the line style of the system in that row of the table, the same in every plot."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": STYLES[number // len(COLOURS) % len(STYLES)],
        "linewidth": 2.2 if subject else 1.1,
        "marker": "o",
        "markersize": 3,
    }


@rc_context(STYLE)
def by_size(name: str, points: Sequence[tuple[int, SystemResult]], metrics: Sequence[str]) -> Figure:
    """Draw a panel per metric: mean and spread over seeds by the value of a setting."""
    figure, row = _panels(len(metrics))
    for axes, metric in zip(row, metrics, strict=True):
        known = [(value, result.metrics[metric]) for value, result in points if metric in result.metrics]
        axes.errorbar(
            [value for value, _ in known],
            [summary.mean for _, summary in known],
            [summary.spread or 0.0 for _, summary in known],
            marker="o",
            capsize=3,
            color=COLOURS[0],
        )
        axes.set(title=LABELS.get(metric, metric), xlabel=name)
        axes.set_xticks([value for value, _ in known])
    return figure
