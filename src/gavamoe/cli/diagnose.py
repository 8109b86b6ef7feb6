"""`gavamoe diagnose`: describe the clusters of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gavamoe.cli.options import Json, Verify

EXAMPLE = "Example: gavamoe diagnose runs/first --out diagnosis --seeds 2"


def diagnose(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory; stage 1 is enough.")],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where to write clusters.md and .json, or drift.md and .json.")
    ],
    data: Annotated[
        Path | None,
        typer.Option(help="The prepared dataset, if it has moved; or newer reviews, to report drift against them."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=0, help="Train stage 1 this many more times to measure stability.")] = 0,
    verify: Verify = False,
    json: Json = False,
) -> None:
    """Describe the clusters: size, separation, stability, and what each one likes."""
    from gavamoe.cli.output import emit_json
    from gavamoe.pipeline.diagnose import diagnose_run, markdown

    diagnosis = diagnose_run(run, out, data, seeds, verify)
    if json:
        emit_json({**diagnosis, "out": str(out)})
    else:
        typer.echo(markdown(diagnosis))
