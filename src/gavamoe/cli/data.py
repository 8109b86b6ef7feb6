"""`gavamoe data`: list the public review datasets and download them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gavamoe.cli.options import Json

if TYPE_CHECKING:
    from gavamoe.data.public.registry import SetFile

LIST_EXAMPLE = "Example: gavamoe data list"
GET_EXAMPLE = "Example: gavamoe data get amazon-2018-gift-cards --out data/raw"


def data(context: typer.Context) -> None:
    """List and fetch the public review sets."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def list_sets(json: Json = False) -> None:
    """List the sets: name, size, terms, and what is in them."""
    from dataclasses import asdict

    from gavamoe.cli.output import emit_json
    from gavamoe.data.public.registry import SETS

    if json:
        emit_json({"sets": [asdict(dataset) for dataset in SETS]})
        return
    for dataset in SETS:
        print(f"{dataset.name}  ({dataset.size}{'' if dataset.files else ', by hand'})")
        print(f"    {dataset.about}\n    {dataset.page}\n    terms: {dataset.licence}")


def get(
    name: Annotated[str, typer.Argument(help="A name from `gavamoe data list`.")],
    out: Annotated[Path, typer.Option(help="Directory for the files; files that exist are kept.")],
    json: Json = False,
) -> None:
    """Download a set; an interrupted download continues where it stopped."""
    from gavamoe.cli.output import emit_json, note
    from gavamoe.data.public.registry import find_set

    dataset = find_set(name)
    if not dataset.files:
        note(f"{dataset.name} cannot be downloaded automatically: see {dataset.page}\n{dataset.by_hand}")
    for file in dataset.files:
        if not (out / file.name).exists():
            _fetch(file, out / file.name)
    files = [out / file.name for file in dataset.files]
    if json:
        result = {"name": dataset.name, "files": list(map(str, files))}
        emit_json({**result, "by_hand": dataset.by_hand, "licence": dataset.licence})
    elif files:
        print(f"{dataset.about}; terms: {dataset.licence}\ngavamoe prepare {files[0]} --out DATA")


def _fetch(file: SetFile, path: Path) -> None:
    """Download one file with a progress bar on stderr; no bar if stderr is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from gavamoe.data.public.download import download

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(file.name, total=None)
        download(file.url, path, file.sha256, lambda done, total: progress.update(task, completed=done, total=total))
