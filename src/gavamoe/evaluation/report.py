"""report.html: one self-contained page that shows what a run learned and how it fares."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, select_autoescape

from gavamoe.evaluation.score import LOWER_IS_BETTER, Metrics
from gavamoe.files import staged_file

# Which metrics the table shows, and how many decimals.
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


@dataclass
class Report:
    """What the page shows; a section without content is left out.

    systems: metrics by name, ours first. pictures: (title, what one sees in words, SVG). clusters: a row a cluster.
    """

    title: str
    facts: dict[str, str]
    systems: dict[str, Metrics]
    conditions: dict[str, Any]
    examples: list[dict[str, Any]] = field(default_factory=list)
    clusters: list[dict[str, Any]] = field(default_factory=list)
    pictures: list[tuple[str, str, str]] = field(default_factory=list)


def write_report(path: Path, report: Report) -> None:
    """Write the page, whole or not at all."""
    environment = Environment(autoescape=select_autoescape(default=True), undefined=StrictUndefined, trim_blocks=True)
    source = files("gavamoe.evaluation").joinpath("templates", "report.html").read_text("utf-8")
    page = environment.from_string(source).render(report=report, rows=metric_rows(report.systems))
    with staged_file(path) as staged:
        staged.write_text(page, encoding="utf-8")


def metric_rows(systems: dict[str, Metrics]) -> list[dict[str, Any]]:
    """A row a metric: its name with the direction that is better, and each system's value with the best one marked."""
    rows = []
    for metric, decimals in SHOWN.items():
        values = [metrics.get(metric) for metrics in systems.values()]
        known = [value for value in values if value is not None]
        if not known:
            continue
        lower = metric in LOWER_IS_BETTER
        best = min(known) if lower else max(known)
        cells = [
            {"text": "–" if value is None else f"{value:.{decimals}f}", "best": value == best and len(known) > 1}
            for value in values
        ]
        rows.append({"metric": metric, "arrow": "↓" if lower else "↑", "cells": cells})
    return rows
