"""`gavamoe diagnose`: what a run has learned."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gavamoe.cli.main import app

EXAMPLE = "Example: gavamoe diagnose runs/first --out diagnosis --seeds 2"


@app.command(epilog=EXAMPLE)
def diagnose(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory; stage 1 is enough.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to write clusters.md and clusters.json.")],
    data: Annotated[Path | None, typer.Option(help="The prepared data, where they have moved.")] = None,
    seeds: Annotated[int, typer.Option(min=0, help="Train stage 1 so many times more: are clusters stable?")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Describe the clusters: how large, how far apart, how stable, what each likes."""
    from gavamoe.cli.output import emit_json
    from gavamoe.pipeline.diagnose import diagnose_run, markdown

    found = diagnose_run(run, out, data, seeds)
    if json:
        emit_json({**found, "out": str(out)})
    else:
        typer.echo(markdown(found))
