"""report.html: one self-contained page with a run's metrics, examples, clusters and figures.

`metric_rows` prepares metric tables (also for the terminal), `render_page` fills a Jinja template of a package.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, select_autoescape

from gavamoe.evaluation.bounds import Bounds
from gavamoe.evaluation.groups import Groups
from gavamoe.evaluation.row_scores import Metrics
from gavamoe.evaluation.score import LOWER_IS_BETTER
from gavamoe.evaluation.significance import Interval
from gavamoe.files import staged_file

# The metrics that tables show, with their number of decimals.
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
# The same for metrics that know the right item and user.
SHOWN_PAIR = {
    "item_identifiability": 3,
    "user_identifiability": 3,
    "swap_gap_user": 3,
    "swap_gap_item": 3,
    "statement_precision": 3,
    "statement_recall": 3,
    "sentence_rank_mrr": 3,
    "fluency": 3,
    "genericness": 3,
}
# The same for further metrics, below the field's metrics.
SHOWN_FURTHER = {"rating NLL": 3, "rating ECE": 3, "rating coherence": 3, "feature hallucination": 3, "rep-2": 2}
ALL_SHOWN = {**SHOWN, **SHOWN_PAIR, **SHOWN_FURTHER}
# Column and row labels where they differ from the metric's name.
LABELS = {f"rouge_{kind}/f_score": f"ROUGE-{kind.upper()} F" for kind in "12l"}

Picture = tuple[str, str, str]  # title, description in words, SVG markup


@dataclass
class Report:
    """The contents of the page; a section without content is left out.

    Args:
        title: title of the page.
        facts: properties of the run and its data, by name.
        systems: metrics by system; the first is the run that is reported.
        conditions: n, rating, feature, oracle, normalization, truncate_words and optionally decoding of the evaluation.
        intervals: 95 % confidence intervals of the first system's metrics.
        groups: the first system's metrics by group, as `gavamoe.evaluation.groups.by_group` returns them.
        examples: explanations with text, user, item, cluster, rating (predicted), true_rating and reference.
        clusters: rows with cluster, pairs, users, rating (mean), genres and features.
        pictures: the figures, in order.
        bounds: rows of the table of floors and ceilings, as `bound_rows` returns them.
        language: ISO 639-1 code of the language of most reviews; None if it is unknown. The page is in English, its
            quotations have the reviews' language and their own direction of writing.
    """

    title: str
    facts: dict[str, str]
    systems: dict[str, Metrics]
    conditions: dict[str, Any]
    intervals: dict[str, Interval] = field(default_factory=dict)
    groups: Groups = field(default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)
    clusters: list[dict[str, Any]] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    bounds: list[list[str]] = field(default_factory=list)
    language: str | None = None


def write_report(path: Path, report: Report) -> None:
    """Write the page to `path`, atomically."""
    tables = {grouping: _columns(groups) for grouping, groups in report.groups.items()}
    page = render_page(
        "gavamoe.evaluation",
        "report.html",
        report=report,
        rows=metric_rows(report.systems, report.intervals),
        tables={grouping: (list(columns), metric_rows(columns)) for grouping, columns in tables.items()},
    )
    with staged_file(path) as staged:
        staged.write_text(page, encoding="utf-8")


def render_page(package: str, template: str, **values: object) -> str:
    """Fill a Jinja template with values; all values are escaped as HTML unless the template marks them as safe.

    Every template also gets `palette`, the CSS of the colours that all pages share, light and dark.

    Args:
        package: the package whose folder `templates` holds the template, such as "gavamoe.evaluation".
        template: file name of the template.
        values: the template's variables; a variable that is missing raises `jinja2.UndefinedError`.
    """
    environment = Environment(
        autoescape=select_autoescape(default=True), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = files(package).joinpath("templates", template).read_text("utf-8")
    palette = files("gavamoe.evaluation").joinpath("templates", "palette.css").read_text("utf-8")
    return environment.from_string(source).render(palette=palette, **values)


def metric_rows(systems: dict[str, Metrics], intervals: dict[str, Interval] | None = None) -> list[dict[str, Any]]:
    """Prepare a table of metrics with one row per metric and one cell per system.

    Args:
        systems: metric values by system.
        intervals: confidence intervals of the first system; its cells get a key `interval` where there is one.

    Returns:
        Rows with metric, label, arrow (↑ if higher is better, ↓ if lower is) and cells; each cell has text and best.
        No value is best if all are equal. A metric that no system has is left out.
    """
    rows = []
    for metric, decimals in ALL_SHOWN.items():
        values = [metrics.get(metric) for metrics in systems.values()]
        defined = [value for value in values if value is not None]
        if not defined:
            continue
        lower = metric in LOWER_IS_BETTER
        best = (min(defined) if lower else max(defined)) if len(set(defined)) > 1 else None
        cells: list[dict[str, Any]] = [
            {"text": "–" if value is None else f"{value:.{decimals}f}", "best": value is not None and value == best}
            for value in values
        ]
        if intervals and metric in intervals:
            cells[0]["interval"] = " to ".join(f"{bound:.{decimals}f}" for bound in intervals[metric])
        label = LABELS.get(metric, metric)
        rows.append({"metric": metric, "label": label, "arrow": "↓" if lower else "↑", "cells": cells})
    return rows


def bound_rows(metrics: Metrics, bounds: dict[str, Bounds]) -> list[list[str]]:
    """Return metric, floor, value and ceiling as texts, for each metric that has bounds and is shown."""
    return [
        [name, *("–" if value is None else f"{value:.3f}" for value in (found.floor, metrics[name], found.ceiling))]
        for name, found in bounds.items()
        if metrics.get(name) is not None
    ]


def _columns(groups: dict[str, dict[str, Any]]) -> dict[str, Metrics]:
    """Return the metrics of each group by its column header."""
    return {f"{group} (n = {found['n']:,})": found["metrics"] for group, found in groups.items()}
