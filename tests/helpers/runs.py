"""Copies of a run whose files a test changes."""

from __future__ import annotations

import shutil
from pathlib import Path

from gavamoe.run import RunDirectory


def unsealed_copy(run: Path, target: Path) -> Path:
    """Copy a run without its manifest, so that a test reaches the readers behind the seal."""
    shutil.copytree(run, target)
    RunDirectory(target).break_seal()
    return target
