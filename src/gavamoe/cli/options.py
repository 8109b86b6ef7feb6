"""The options that several commands share, so that their names and help texts stay the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gavamoe.conditions import Context as ContextName
from gavamoe.conditions import Source

Rating = Annotated[Source, typer.Option(help="Rating in the prompt; given is the true one, an oracle.")]
Feature = Annotated[Source, typer.Option(help="Feature in the prompt; given is the true one, an oracle.")]
Context = Annotated[
    ContextName | None,
    typer.Option(help="What else a prompt in words states; each includes those before it; default: all there is."),
]
Encoding = Annotated[
    str | None, typer.Option(help="Encoding of text files, such as windows-1252 or gbk; default: detected and printed.")
]
Records = Annotated[
    str | None, typer.Option(metavar="PATH", help="Where JSON holds the list of records, such as data.reviews.")
]
History = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Rated items to estimate the user from: columns item, rating; user for several users."
    ),
]
Fluency = Annotated[
    str | None,
    typer.Option(metavar="LM", help="Measure fluency under this LM: smollm2-135m, a hub id, a directory or a GGUF."),
]
Similarity = Annotated[
    str | None,
    typer.Option(metavar="MODEL", help="Semantic similarity with this encoder: all-minilm-l6-v2, or a directory."),
]
DataArgument = Annotated[Path, typer.Argument(metavar="DATA", help="A dataset made by `gavamoe prepare`.")]
Preset = Annotated[
    str | None,
    typer.Option(
        help="Named configuration: small (the default), auto (by the size of DATA), pretrained (for --base-model), or "
        "tiny."
    ),
]
BaseModel = Annotated[
    str | None,
    typer.Option(help="Pretrained causal LM of stage 2: smollm2-135m, a hub id, a directory or a .gguf file."),
]
ConfigFile = Annotated[Path | None, typer.Option(help="YAML file with settings that override the preset.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting, such as explainer.experts=16.")
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")]
Verify = Annotated[bool, typer.Option("--verify", help="Check the checksums of the run's large files too.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]


def refuse_reading(encoding: str | None, records: str | None, files: str) -> None:
    """Raise `InputError` for an option on how a file is read if there is no such file.

    Args:
        encoding: value of --encoding.
        records: value of --records.
        files: the options that name such files.
    """
    from gavamoe.errors import InputError

    for name, value in (("--encoding", encoding), ("--records", records)):
        if value is not None:
            raise InputError(f"{name} says how the file of {files} is read, and none is given: leave {name} out")


def settings_with_seed(set_: list[str] | None, seed: int | None) -> list[str]:
    """Return the `key=value` texts of --set, and that of --seed after them."""
    return [*(set_ or []), *([f"seed={seed}"] if seed is not None else [])]


def training_texts(data: Path) -> int:
    """Return how many training reviews of a dataset have a text, by which the preset auto chooses."""
    from gavamoe.data.dataset import ReviewDataset

    return ReviewDataset.load(data).count_texts("train")
