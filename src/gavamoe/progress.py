"""Progress bars on stderr for anything longer than a moment; silent without a terminal, and where another leads."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gavamoe.distributed import is_main_process

Advance = Callable[[float, str], None]


@contextmanager
def track(description: str, total: float) -> Iterator[Advance]:
    """Yield `advance(steps, text)`: move the bar and show `text` (the newest figures) behind it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[text]}"),
    )
    with Progress(
        *columns, console=Console(file=sys.stderr), disable=not (sys.stderr.isatty() and is_main_process())
    ) as bar:
        task = bar.add_task(description, total=total, text="")

        def advance(steps: float = 1, text: str = "") -> None:
            bar.advance(task, steps)
            if text:
                bar.update(task, text=text)

        yield advance
