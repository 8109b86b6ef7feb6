"""`gavamoe score`: compute the metrics for any system's outputs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gavamoe.cli.options import Encoding, Fluency, Json, Records, Similarity

if TYPE_CHECKING:
    from gavamoe.evaluation.metrics.fluency import FluencyModel

EXAMPLE = "Example: gavamoe score predictions.jsonl --feature-set features.txt --json"


def score(
    predictions: Annotated[
        Path,
        typer.Argument(
            metavar="PREDICTIONS", help="Rows with prediction, reference[, feature, rating, ...]: JSON, CSV, ..."
        ),
    ],
    feature_set: Annotated[
        Path | None, typer.Option(help="All features: one per line, or a JSON list; default: those of the file.")
    ] = None,
    normalize: Annotated[bool, typer.Option("--normalize", help="Lowercase and split punctuation first.")] = False,
    train: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA_OR_REVIEWS_FILE", help="Training texts, to score whether texts are about their item and user."
        ),
    ] = None,
    fluency: Fluency = None,
    similarity_model: Similarity = None,
    scale: Annotated[
        str | None,
        typer.Option(help="Rating scale LOW:HIGH that predictions are clipped to, instead of the inferred one."),
    ] = None,
    encoding: Encoding = None,
    records: Records = None,
    json: Json = False,
) -> None:
    """Score texts, and ratings if the file has them, with BLEU, ROUGE, USR, FMR, FCR, DIV, RMSE and MAE."""
    from gavamoe.cli.output import emit_json
    from gavamoe.data.scale import RatingScale
    from gavamoe.evaluation.score_file import score_file

    given_scale = RatingScale.parse(scale) if scale else None
    result = score_file(
        predictions,
        feature_set,
        normalize,
        similarity_model,
        given_scale,
        encoding,
        records,
        train,
        partial(_load_fluency_model, fluency) if fluency else None,
    )
    if json:
        emit_json(result)
    else:
        _show(result)


def _load_fluency_model(base: str) -> FluencyModel:
    # Imported here because torch and transformers take seconds to load.
    from gavamoe.pipeline.language_models import load_fluency_model

    return load_fluency_model(base)


def _show(result: dict[str, Any]) -> None:
    """Print conditions, metrics with intervals, and one table per grouping."""
    from gavamoe.cli.output import bounds_table, print_conditions, table
    from gavamoe.evaluation.bounds import Bounds, plain_values
    from gavamoe.evaluation.report import ALL_SHOWN, metric_rows

    conditions = {"n": f"{result['n']:,}", **result["conditions"]}
    print_conditions(conditions)
    rows, metrics = [], plain_values(result["metrics"])
    for row in metric_rows({"value": metrics}):
        low_high = result["intervals"].get(row["metric"], ())
        interval = " to ".join(f"{bound:.{ALL_SHOWN[row['metric']]}f}" for bound in low_high)
        rows.append([f"{row['metric']} {row['arrow']}", row["cells"][0]["text"], interval])
    further = {name: value for name, value in result["further"].items() if value is not None}
    rows += [[name, f"{value:.3f}", ""] for name, value in further.items()]
    table(["metric", "value", "95 % interval"], rows)
    bounds_table({**metrics, **further}, {name: Bounds(**found) for name, found in result["bounds"].items()})
    for grouping, groups in result["groups"].items():
        columns = {f"{grouping} {group} ({found['n']:,})": found["metrics"] for group, found in groups.items()}
        cells = [
            [f"{row['metric']} {row['arrow']}", *(cell["text"] for cell in row["cells"])]
            for row in metric_rows(columns)
        ]
        print()
        table(["metric", *columns], cells)
