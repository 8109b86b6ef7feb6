"""Markdown tables: the one helper that every written table goes through."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(header: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table, without a newline at its end.

    Args:
        header: the column titles.
        rows: the cells of each row, one per column.
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
