"""`gavamoe evaluate`: how good a run's ratings and texts are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gavamoe.cli.main import app
from gavamoe.cli.options import Encoding, Feature, Rating, Records, Source

EXAMPLE = "Example: gavamoe evaluate runs/first --data newer-reviews.jsonl.gz --json"


@app.command(epilog=EXAMPLE)
def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    data: Annotated[
        Path | None, typer.Option(help="Another prepared dataset, or a file of reviews (user, item, rating, text).")
    ] = None,
    split: Annotated[str, typer.Option(help="Which split, where the data has splits.")] = "test",
    rating: Rating = Source.predicted,
    feature: Feature = Source.predicted,
    limit: Annotated[int | None, typer.Option(min=1, help="Evaluate on so many reviews, drawn at random.")] = None,
    encoding: Encoding = None,
    records: Records = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Write explanations for reviews and score them; keeps metrics.json, predictions.jsonl and report.html in RUN."""
    from gavamoe.cli.output import emit_json, metrics_table
    from gavamoe.conditions import Condition
    from gavamoe.data.readers.open import ReadOptions
    from gavamoe.pipeline.evaluate import evaluate_run
    from gavamoe.pipeline.report import write_run_report
    from gavamoe.run import RunDirectory

    directory = RunDirectory(run)
    condition, read = Condition(rating.value, feature.value), ReadOptions(encoding=encoding, records=records)
    comparison, explainer = evaluate_run(directory, data, split, condition, limit, read)
    write_run_report(directory, comparison, explainer)
    if json:
        emit_json(comparison.evaluation.to_dict())
    else:
        metrics_table(comparison.systems, {"n": comparison.evaluation.n, **comparison.evaluation.conditions})
        print(f"report: {run / 'report.html'}")
