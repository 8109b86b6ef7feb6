"""`gavamoe evaluate`: score a run's ratings and explanations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gavamoe.cli.options import (
    Context,
    Encoding,
    Feature,
    Fluency,
    Json,
    Rating,
    Records,
    RunArgument,
    Similarity,
    Verify,
    refuse_reading,
)

EXAMPLE = "Example: gavamoe evaluate runs/first --data newer-reviews.jsonl.gz --json"


def evaluate(
    run: RunArgument,
    data: Annotated[
        Path | None, typer.Option(help="Another prepared dataset, or a file of reviews (user, item, rating, text).")
    ] = None,
    split: Annotated[str, typer.Option(help="Which split, if the data has splits.")] = "test",
    rating: Rating = "predicted",
    feature: Feature = "predicted",
    context: Context = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Evaluate on this many reviews, drawn at random.")] = None,
    fluency: Fluency = None,
    similarity_model: Similarity = None,
    encoding: Encoding = None,
    records: Records = None,
    verify: Verify = False,
    json: Json = False,
) -> None:
    """Write explanations for reviews and score them; adds metrics.json, predictions.jsonl and report.html to RUN.

    A run of stage 1 alone is evaluated on its ratings.
    """
    from gavamoe.cli.output import bounds_table, emit_json, metrics_table, note
    from gavamoe.conditions import Condition
    from gavamoe.data.readers.open import ReadOptions
    from gavamoe.pipeline.evaluate import evaluate_run
    from gavamoe.pipeline.rating_evaluation import evaluate_ratings, refuse_prompt_facts, refuse_text_judges
    from gavamoe.pipeline.report import write_rating_report, write_run_report
    from gavamoe.run import RunDirectory

    if data is None or data.is_dir():
        refuse_reading(encoding, records, "--data")
    directory = RunDirectory(run)
    condition = Condition(rating, feature, context)
    read = ReadOptions(encoding=encoding, records=records)
    if directory.has_stage_1_alone:
        refuse_prompt_facts(condition)
        refuse_text_judges(fluency, similarity_model)
        comparison, recommender = evaluate_ratings(directory, data, split, limit, read, verify)
        write_rating_report(directory, comparison, recommender)
    else:
        comparison, explainer = evaluate_run(
            directory, data, split, condition, limit, read, verify, fluency, similarity_model
        )
        write_run_report(directory, comparison, explainer)
    if seen := comparison.reviews.seen:
        count = comparison.evaluation.n
        note(f"gavamoe: {seen} of {count} rows are of pairs with a training review of the run: figures are optimistic")
    if json:
        emit_json(comparison.evaluation.to_dict())
    else:
        evaluation = comparison.evaluation
        metrics_table(comparison.systems, {"n": evaluation.n, **evaluation.conditions})
        bounds_table({**evaluation.metrics, **evaluation.further}, evaluation.bounds)
        print(f"report: {run / 'report.html'}")
