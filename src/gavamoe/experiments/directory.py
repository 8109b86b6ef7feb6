"""The directory of a comparison or a search: one process at a time, and a card that says what it belongs to.

The card is a YAML file of the data, the settings and whatever else an experiment may not change when it is resumed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from gavamoe.errors import ConfigError, RunError
from gavamoe.files import is_temporary, make_directory, only_one_process, reading, remove_abandoned, staged_file

DATA = "data"  # where the data lay, for the reader: it may have moved, and its digest says whether it is the same


@contextmanager
def only_experiment(out: Path, work: str) -> Iterator[None]:
    """Hold the lock of an experiment, and delete what killed ones left; a new directory is removed if empty.

    Args:
        out: directory of the experiment; created if needed.
        work: what the block does, such as "comparing in", for the message.

    Raises:
        RunError: `out` is a file, or another process works in it.
    """
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file; choose another --out")
    is_new = not out.exists()
    make_directory(out)
    try:
        with only_one_process(out, work):
            remove_abandoned(out)
            yield
    finally:
        if is_new:
            with suppress(OSError):
                out.rmdir()


def earlier_card(path: Path, card: dict[str, Any], resume: bool, noun: str) -> dict[str, Any] | None:
    """Return the card that an earlier call wrote; None if the directory is new.

    Args:
        path: where the card is.
        card: what this call would write. Its keys must have the same values in the earlier card, except `data`.
        resume: whether an earlier experiment may be continued.
        noun: what the experiment is, such as "comparison", for messages.

    Raises:
        RunError: the directory holds something else, or an experiment that is not to be resumed; or there is none to
            resume; or the card is damaged.
        ConfigError: the experiment was begun with other data or settings.
    """
    out = path.parent
    if all(is_temporary(each) for each in out.iterdir()):
        if resume:
            raise RunError(f"there is no {noun} at {out} to resume; leave out --resume")
        return None
    if not resume:
        raise RunError(f"{out} already holds files; go on with --resume, or choose another --out")
    if not path.is_file():
        raise RunError(f"{out} holds no {noun} to resume: {path.name} is missing; choose another --out")
    with reading(path):
        earlier: dict[str, Any] = dict(yaml.safe_load(path.read_text(encoding="utf-8")))
        differing = [key for key in card if key != DATA and earlier[key] != card[key]]
    if differing:
        raise ConfigError(f"{out} was begun with another {differing[0]}; choose another --out, or the same settings")
    return earlier


def write_card(path: Path, card: dict[str, Any]) -> None:
    """Write the card of an experiment."""
    with staged_file(path) as staged:
        staged.write_text(yaml.safe_dump(card, sort_keys=False, allow_unicode=True), encoding="utf-8")
