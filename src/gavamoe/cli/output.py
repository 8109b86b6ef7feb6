"""What a command prints: one JSON object on stdout with --json, else a table a person reads; the rest to stderr."""

from __future__ import annotations

import json
import math
import sys
from typing import Any


def emit_json(value: dict[str, Any]) -> None:
    """Print ONE JSON object on stdout; NaN and infinities, which JSON lacks, become null."""
    print(json.dumps(_plain(value), ensure_ascii=False), file=sys.stdout, flush=True)


def note(text: str) -> None:
    """Print a line for the person to stderr."""
    print(text, file=sys.stderr)


def _plain(value: Any) -> Any:
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
    """Print a table a person reads; it is never cut to the width of a terminal that is not there."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 160)
    shown = Table(*columns, title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for row in rows:
        shown.add_row(*row)
    console.print(shown, markup=False)


def metrics_table(systems: dict[str, dict[str, float | None]], conditions: dict[str, Any]) -> None:
    """Metrics of several systems side by side, the conditions above."""
    from gavamoe.evaluation.report import metric_rows

    print("; ".join(f"{name} {value}" for name, value in conditions.items()))
    rows = [
        [f"{row['metric']} {row['arrow']}", *(cell["text"] + ("*" if cell["best"] else "") for cell in row["cells"])]
        for row in metric_rows(systems)
    ]
    table(["metric", *systems], rows)
