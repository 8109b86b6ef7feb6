"""report.html: one self-contained page that shows what a run learned and how it fares."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, select_autoescape

from gavamoe.evaluation.groups import Groups
from gavamoe.evaluation.row_scores import Metrics
from gavamoe.evaluation.score import LOWER_IS_BETTER
from gavamoe.evaluation.significance import Interval
from gavamoe.files import staged_file

# Which metrics the tables show, and with how many decimals.
SHOWN = {
    "RMSE": 3,
    "MAE": 3,
    "BLEU-1": 2,
    "BLEU-4": 2,
    "rouge_1/f_score": 2,
    "rouge_2/f_score": 2,
    "rouge_l/f_score": 2,
    "USR": 3,
    "FMR": 3,
    "FCR": 3,
    "DIV": 3,
    "Distinct-1": 3,
    "Distinct-2": 3,
}
SHOWN_FURTHER = {"rating coherence": 3, "feature hallucination": 3, "rep-2": 2}
LABELS = {f"rouge_{kind}/f_score": f"ROUGE-{kind.upper()} F" for kind in "12l"}


@dataclass
class Report:
    """What the page shows; a section without content is left out.

    Args:
        title: of the page.
        facts: what was run on what, by name.
        systems: metrics by system, ours first.
        conditions: n, rating, feature, oracle, normalization and truncate_words of the evaluation; others are shown as
            they are.
        intervals: 95 % confidence of our metrics.
        groups: our metrics by group, as `Evaluation.groups`.
        examples: text, user, item, cluster, rating (predicted), true_rating and reference of single explanations.
        clusters: cluster, pairs, users, rating (mean) and features of each cluster.
        pictures: (title, what one sees in words, SVG).
    """

    title: str
    facts: dict[str, str]
    systems: dict[str, Metrics]
    conditions: dict[str, Any]
    intervals: dict[str, Interval] = field(default_factory=dict)
    groups: Groups = field(default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)
    clusters: list[dict[str, Any]] = field(default_factory=list)
    pictures: list[tuple[str, str, str]] = field(default_factory=list)


def write_report(path: Path, report: Report) -> None:
    """Write the page, whole or not at all."""
    environment = Environment(
        autoescape=select_autoescape(default=True), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = files("gavamoe.evaluation").joinpath("templates", "report.html").read_text("utf-8")
    tables = {grouping: _columns(groups) for grouping, groups in report.groups.items()}
    page = environment.from_string(source).render(
        report=report,
        rows=metric_rows(report.systems, report.intervals),
        tables={grouping: (list(columns), metric_rows(columns)) for grouping, columns in tables.items()},
    )
    with staged_file(path) as staged:
        staged.write_text(page, encoding="utf-8")


def metric_rows(systems: dict[str, Metrics], intervals: dict[str, Interval] | None = None) -> list[dict[str, Any]]:
    """A row a metric: its name with the direction that is better, and each system's value with the best one marked.

    A metric that no system has is left out.

    intervals: of the first system; its cells then have one where the metric has one.
    """
    rows = []
    for metric, decimals in {**SHOWN, **SHOWN_FURTHER}.items():
        values = [metrics.get(metric) for metrics in systems.values()]
        known = [value for value in values if value is not None]
        if not known:
            continue
        lower = metric in LOWER_IS_BETTER
        best = (min(known) if lower else max(known)) if len(set(known)) > 1 else None
        cells: list[dict[str, Any]] = [
            {"text": "–" if value is None else f"{value:.{decimals}f}", "best": value is not None and value == best}
            for value in values
        ]
        if intervals and metric in intervals:
            cells[0]["interval"] = " to ".join(f"{bound:.{decimals}f}" for bound in intervals[metric])
        label = LABELS.get(metric, metric)
        rows.append({"metric": metric, "label": label, "arrow": "↓" if lower else "↑", "cells": cells})
    return rows


def _columns(groups: dict[str, dict[str, Any]]) -> dict[str, Metrics]:
    return {f"{group} (n = {found['n']:,})": found["metrics"] for group, found in groups.items()}
