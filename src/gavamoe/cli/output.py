"""What a command prints: with --json one JSON object on stdout, otherwise tables; notes go to stderr."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

from gavamoe.errors import printable

LEAST_WIDTH, WIDEST = 160, 100_000  # characters of a table that no terminal shows
NOT_MEASURED = "not_measured"  # the condition that says why metrics are null


def emit_json(value: dict[str, Any]) -> None:
    """Print one JSON object on stdout; NaN and infinities, which JSON lacks, become null."""
    print(json.dumps(_plain(value), ensure_ascii=False), file=sys.stdout, flush=True)


def note(text: str) -> None:
    """Print lines to stderr, without control characters."""
    for line in text.split("\n"):
        print(printable(line), file=sys.stderr)


def _plain(value: Any) -> Any:
    """Return the value with NumPy scalars as Python numbers and non-finite numbers as None."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, str):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def table(columns: list[str], rows: list[list[str]], title: str | None = None) -> None:
    """Print a table without control characters; where stdout is not a terminal, it is as wide as its cells."""
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table

    head = map(printable, columns)
    printed = Table(*head, title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for row in rows:
        printed.add_row(*map(printable, row))
    console = Console()
    if not sys.stdout.isatty():
        unlimited = console.options.update(max_width=WIDEST)
        console = Console(width=max(LEAST_WIDTH, Measurement.get(console, unlimited, printed).maximum))
    console.print(printed, markup=False)


def print_conditions(conditions: dict[str, Any]) -> None:
    """Print conditions in one line, and under it one line for each reason why metrics were not measured."""
    stated = {
        name: ", ".join(f"{key} {each}" for key, each in value.items()) if isinstance(value, dict) else value
        for name, value in conditions.items()
        if name != NOT_MEASURED
    }
    print("; ".join(f"{name} {value}" for name, value in stated.items()))
    by_reason: dict[str, list[str]] = {}
    for metric, reason in conditions.get(NOT_MEASURED, {}).items():
        by_reason.setdefault(reason, []).append(metric)
    for reason, metrics in by_reason.items():
        print(f"not measured: {', '.join(metrics)} ({reason})")


def bounds_table(metrics: dict[str, float | None], bounds: dict[str, Any]) -> None:
    """Print each metric that has bounds between its floor and its ceiling; nothing if none has.

    Args:
        metrics: values by name.
        bounds: `gavamoe.evaluation.bounds.Bounds` by name.
    """
    from gavamoe.evaluation.report import bound_rows

    rows = bound_rows(metrics, bounds)
    if rows:
        print()
        table(["metric", "floor", "value", "ceiling"], rows)


def metrics_table(systems: dict[str, dict[str, float | None]], conditions: dict[str, Any]) -> None:
    """Print the metrics of several systems side by side, with the conditions above.

    Args:
        systems: metric values by system name.
        conditions: what was evaluated, and what the prompt may know.
    """
    from gavamoe.evaluation.report import metric_rows

    print_conditions(conditions)
    rows = [
        [f"{row['metric']} {row['arrow']}", *(cell["text"] + ("*" if cell["best"] else "") for cell in row["cells"])]
        for row in metric_rows(systems)
    ]
    table(["metric", *systems], rows)
