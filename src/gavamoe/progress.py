"""Progress bars on stderr for long work.

Nothing is shown when stderr is no terminal, nor by any process but the main one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gavamoe.distributed import is_main_process

Advance = Callable[[float, str], None]


@contextmanager
def track(description: str, total: float) -> Iterator[Advance]:
    """Show a progress bar while the block runs.

    Args:
        description: text before the bar.
        total: number of steps that fill the bar.

    Yields:
        A function `advance(steps, text)`. It moves the bar, and shows `text` behind the bar unless it is empty.
    """
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
