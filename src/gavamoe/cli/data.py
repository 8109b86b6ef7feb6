"""`gavamoe data`: the public review sets by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gavamoe.cli.main import app

if TYPE_CHECKING:
    from gavamoe.data.public.registry import SetFile

data_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data_app, name="data", help="List and fetch the public review sets.")


@data_app.command("list", epilog="Example: gavamoe data list")
def list_sets(json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """List the sets: name, size, terms, and what is in them."""
    from dataclasses import asdict

    from gavamoe.cli.output import emit_json
    from gavamoe.data.public.registry import SETS

    if json:
        emit_json({"sets": [asdict(named) for named in SETS]})
        return
    for named in SETS:
        print(f"{named.name}  ({named.size}{'' if named.files else ', by hand'})")
        print(f"    {named.about}\n    {named.page}\n    terms: {named.licence}")


@data_app.command("get", epilog="Example: gavamoe data get amazon-2018-gift-cards --out data/raw")
def get(
    name: Annotated[str, typer.Argument(help="A name of `gavamoe data list`.")],
    out: Annotated[Path, typer.Option(help="Directory for the files; those that are there already are kept.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Fetch a set; a fetch that was interrupted goes on where it stopped."""
    from gavamoe.cli.output import emit_json, note
    from gavamoe.data.public.registry import find_set

    named = find_set(name)
    if not named.files:
        note(f"{named.name} cannot be fetched without you: see {named.page}\n{named.by_hand}")
    for file in named.files:
        if not (out / file.name).exists():
            _fetch(file, out / file.name)
    files = [out / file.name for file in named.files]
    if json:
        emit_json(
            {"name": named.name, "files": list(map(str, files)), "by_hand": named.by_hand, "licence": named.licence}
        )
    elif files:
        print(f"{named.about}; terms: {named.licence}\ngavamoe prepare {files[0]} --out DATA")


def _fetch(file: SetFile, path: Path) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from gavamoe.data.public.download import download

    console = Console(stderr=True)
    shown = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*shown, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(file.name, total=None)
        download(file.url, path, file.sha256, lambda done, total: progress.update(task, completed=done, total=total))
