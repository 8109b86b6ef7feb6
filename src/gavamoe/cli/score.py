"""`gavamoe score`: the metrics of any system's outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gavamoe.cli.app import app

EXAMPLE = "Example: gavamoe score predictions.jsonl --feature-set features.txt --json"


@app.command(epilog=EXAMPLE)
def score(
    predictions: Annotated[
        Path,
        typer.Argument(metavar="PREDICTIONS", help="JSON lines with prediction, reference[, feature, rating, ...]."),
    ],
    feature_set: Annotated[
        Path | None, typer.Option(help="All features, one a line or a JSON list; else those of the file.")
    ] = None,
    normalize: Annotated[bool, typer.Option("--normalize", help="Lowercase and split punctuation first.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Score texts (and ratings, where they are there) as the field's tables do."""
    from gavamoe.cli.output import emit_json, metrics_table
    from gavamoe.evaluation.predictions import score_file

    result = score_file(predictions, feature_set, normalize)
    if json:
        emit_json(result)
    else:
        metrics_table({predictions.name: result["metrics"]}, {"n": result["n"], **result["conditions"]})
