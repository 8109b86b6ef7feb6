"""`gavamoe evaluate`: score a run's ratings and explanations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gavamoe.cli.options import Context, Encoding, Feature, FieldSource, Json, Rating, Records, RunArgument

EXAMPLE = "Example: gavamoe evaluate runs/first --data newer-reviews.jsonl.gz --json"


def evaluate(
    run: RunArgument,
    data: Annotated[
        Path | None, typer.Option(help="Another prepared dataset, or a file of reviews (user, item, rating, text).")
    ] = None,
    split: Annotated[str, typer.Option(help="Which split, if the data has splits.")] = "test",
    rating: Rating = FieldSource.predicted,
    feature: Feature = FieldSource.predicted,
    context: Context = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Evaluate on this many reviews, drawn at random.")] = None,
    encoding: Encoding = None,
    records: Records = None,
    json: Json = False,
) -> None:
    """Write explanations for reviews and score them; adds metrics.json, predictions.jsonl and report.html to RUN."""
    from gavamoe.cli.output import emit_json, metrics_table
    from gavamoe.conditions import Condition
    from gavamoe.data.readers.open import ReadOptions
    from gavamoe.pipeline.evaluate import evaluate_run
    from gavamoe.pipeline.report import write_run_report
    from gavamoe.run import RunDirectory

    directory = RunDirectory(run)
    condition, read = (
        Condition(rating.value, feature.value, context.value if context else None),
        ReadOptions(encoding=encoding, records=records),
    )
    comparison, explainer = evaluate_run(directory, data, split, condition, limit, read)
    write_run_report(directory, comparison, explainer)
    if json:
        emit_json(comparison.evaluation.to_dict())
    else:
        metrics_table(comparison.systems, {"n": comparison.evaluation.n, **comparison.evaluation.conditions})
        print(f"report: {run / 'report.html'}")
