"""Options that several commands share: what the prompt may know, and how a file is read."""

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
Encoding = Annotated[
    str | None, typer.Option(help="Encoding of text files, such as windows-1252 or gbk; else found and printed.")
]
Records = Annotated[
    str | None, typer.Option(metavar="PATH", help="Where JSON holds the list of records, such as data.reviews.")
]
