"""`gavamoe diagnose`: describe the clusters, the routing and the experts of a run, and check it for known failures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gavamoe.cli.options import Json, Verify

EXAMPLE = "Example: gavamoe diagnose runs/first --out diagnosis --check"
FAILED = 3  # exit code of --check


def diagnose(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory; stage 1 is enough.")],
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Where to write report.html and diagnosis.json, or drift.md and drift.json."),
    ],
    data: Annotated[
        Path | None,
        typer.Option(help="The prepared dataset, if it has moved; or newer reviews, to report drift against them."),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(min=0, help="Measure stability by 3 more trainings of stage 1 for each of this many seeds."),
    ] = 0,
    check: Annotated[bool, typer.Option("--check", help="Exit with code 3 if a check fails.")] = False,
    verify: Verify = False,
    json: Json = False,
) -> None:
    """Diagnose a run: clusters, routing, experts and texts, with a report and named checks."""
    from gavamoe.cli.output import emit_json, note
    from gavamoe.diagnostics.page import checks_table, markdown
    from gavamoe.pipeline.diagnose import diagnose_run
    from gavamoe.pipeline.drift import drift_markdown

    diagnosis = diagnose_run(run, out, data, seeds, verify, on_note=note)
    if json:
        emit_json({**diagnosis, "out": str(out)})
    elif "windows" in diagnosis:
        typer.echo(drift_markdown(diagnosis))
    else:
        typer.echo(markdown(diagnosis))
        typer.echo(checks_table(diagnosis["checks"]))
        note(f"report: {out / 'report.html'}")
    if check and any(found["status"] == "fail" for found in diagnosis["checks"]):
        raise typer.Exit(FAILED)
