"""What a command prints: with --json one JSON object on stdout, otherwise tables; notes go to stderr."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

from gavamoe.errors import printable


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
    """Print a table; where stdout is not a terminal the width is 160 characters, so that no cell is cut."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 160)
    printed = Table(*columns, title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for row in rows:
        printed.add_row(*row)
    console.print(printed, markup=False)


def metrics_table(systems: dict[str, dict[str, float | None]], conditions: dict[str, Any]) -> None:
    """Print the metrics of several systems side by side, with the conditions above.

    Args:
        systems: metric values by system name.
        conditions: what was evaluated, and what the prompt may know.
    """
    from gavamoe.evaluation.report import metric_rows

    print("; ".join(f"{name} {value}" for name, value in conditions.items()))
    rows = [
        [f"{row['metric']} {row['arrow']}", *(cell["text"] + ("*" if cell["best"] else "") for cell in row["cells"])]
        for row in metric_rows(systems)
    ]
    table(["metric", *systems], rows)
