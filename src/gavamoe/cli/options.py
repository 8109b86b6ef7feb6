"""The options that say what the prompt may know; the same for every command that writes texts."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Source(StrEnum):
    """Where a fact in the prompt comes from; given is ground truth."""

    none = "none"
    predicted = "predicted"
    given = "given"


Rating = Annotated[Source, typer.Option(help="Rating in the prompt; given is the true one, an oracle.")]
Feature = Annotated[Source, typer.Option(help="Feature in the prompt; given is the true one, an oracle.")]
