"""Score a file of predictions by any system: read the rows, check each line, compute metrics, intervals and groups."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from gavamoe.data.readers.formats import open_rows
from gavamoe.data.readers.inputs import EmptyFileError, locate
from gavamoe.data.readers.json_lines import JsonReader
from gavamoe.data.readers.lines import TextFile
from gavamoe.data.readers.reading import Reading, shortened
from gavamoe.data.readers.rows import LINE, BadLines, RowReader
from gavamoe.data.scale import RatingScale
from gavamoe.errors import DataError
from gavamoe.evaluation.bounds import Bounds, measure_bounds, reasons, with_bounds
from gavamoe.evaluation.comparable import describe_normalization
from gavamoe.evaluation.groups import SPARSITY, TRAINING_REVIEWS, SparsityGroups, by_group
from gavamoe.evaluation.metrics.fluency import NAME as FLUENCY
from gavamoe.evaluation.metrics.fluency import FluencyModel
from gavamoe.evaluation.metrics.metric import Metric
from gavamoe.evaluation.outputs import Outputs
from gavamoe.evaluation.row_scores import Metrics, RowScores
from gavamoe.evaluation.score import (
    MODEL_METRICS,
    PAIR_METRICS,
    RATING_METRICS,
    STANDARD_METRICS,
    further_conditions,
    further_metrics,
)
from gavamoe.evaluation.significance import confidence_intervals
from gavamoe.evaluation.training_file import read_training_texts
from gavamoe.evaluation.training_texts import name_of
from gavamoe.words import choose_splitter, normalized_words

TEXTS, OPTIONAL_TEXT, NUMBERS = ("prediction", "reference"), "feature", ("rating", "predicted_rating")
# Columns whose values group the rows, if there are at most MAX_GROUPS values.
GROUPINGS, MAX_GROUPS = ("rating", "cluster"), 20

Row = dict[str, Any]  # Any: a JSON object


def score_file(
    path: Path,
    feature_set: Path | None = None,
    normalized: bool = False,
    similarity_model: Path | str | None = None,
    scale: RatingScale | None = None,
    encoding: str | None = None,
    records: str | None = None,
    train: Path | None = None,
    load_fluency: Callable[[], FluencyModel] | None = None,
) -> dict[str, Any]:
    """Score a file of rows {"prediction", "reference"[, "feature", "rating", "predicted_rating"]}.

    The rows may be JSON lines, a JSON array, CSV, TSV, Parquet or a sheet, plain, compressed or in an archive.

    RMSE and MAE use the rows with both ratings. Rows with a blank or null reference count for ratings only. If every
    prediction is null, the system only predicts ratings. Rows are grouped by rating and, if they have these columns, by
    `cluster` and by the user's `training_reviews` (groups of about equal numbers of the file's users). The condition
    `oracle` is known if every row has that column.

    Args:
        path: a file of any format, one row per (user, item) pair.
        feature_set: a file with all features; None: the features of the rows.
        normalized: whether to normalize texts and features before scoring.
        similarity_model: name or directory of a transformers model for `similarity` and `bertscore/f`; None: without
            them.
        scale: rating scale that predicted ratings are clipped to. None: the scale inferred from the true ratings (4 and
            5 stars belong to 1..5), or no clipping if no scale fits them.
        encoding: the encoding of text files; None to detect it.
        records: the path of the records inside a JSON document; None to find it.
        train: a prepared dataset or a reviews file with the training texts, for the metrics that know the right item
            and user; rows need user and item. None: without them.
        load_fluency: loads the model that measures the fluency of the texts, once the files are read; None: without it.

    Returns:
        n, conditions, metrics, intervals (95 % confidence), groups, further (metrics that the field's tables do not
        report) and bounds (floor and ceiling of metrics), as `gavamoe score --json` prints them.

    Raises:
        DataError: a row or a file is invalid; the message names file and line.
    """
    rows, reading = _read_rows(path, encoding, records)
    if scale and not any(row.get("predicted_rating") is not None for row in rows):
        raise DataError(f"{path} has no predicted_rating, and --scale clips these: leave --scale out")
    similarity = _similarity_metrics(similarity_model) if similarity_model else ()
    has_texts = _has_texts(path, rows)
    split, as_given = choose_splitter(row[name] or "" for row in rows for name in TEXTS)
    features = read_feature_set(feature_set, encoding) if feature_set else None
    outputs = _outputs(rows, features, normalized_words if normalized else split, scale)
    outputs, training_conditions = _with_training(outputs, rows, train, features, encoding)
    fluency = load_fluency() if load_fluency and has_texts else None
    judges = fluency.metrics if fluency else ()
    scores = RowScores(outputs, (*STANDARD_METRICS, *PAIR_METRICS, *judges) if has_texts else RATING_METRICS)
    metrics = scores.overall()
    bounds = measure_bounds(outputs) if has_texts else {}
    if has_texts:
        metrics |= dict.fromkeys((*MODEL_METRICS, *(() if fluency else (FLUENCY,))))
    if has_texts and fluency:
        bounds[FLUENCY] = Bounds(*fluency.bounds(outputs))
    conditions = {
        "source": path.name,
        "normalization": describe_normalization(outputs) if normalized else as_given,
        "feature_set": feature_set.name if feature_set else "features of the file",
        "features": len(outputs.known_features),
        "rating_scale": outputs.scale,
        "oracle": any(row["oracle"] for row in rows) if all("oracle" in row for row in rows) else None,
        "empty": sum(not words for words in outputs.predictions) if has_texts else None,
        "similarity_model": str(similarity_model) if similarity_model else None,
        **(further_conditions(outputs) if has_texts else {}),
        **training_conditions,
        **({"fluency_model": fluency.name} if fluency else {}),
        **({"not_measured": _not_measured(outputs, metrics)} if has_texts else {}),
    }
    if reading.describe():
        conditions["read_as"] = "; ".join(reading.describe())
    groupings = {SPARSITY: _sparsity(rows), **{name: [row.get(name) for row in rows] for name in GROUPINGS}}
    return {
        "n": len(rows),
        "conditions": conditions,
        "metrics": with_bounds(metrics, bounds),
        "intervals": confidence_intervals(scores),
        "groups": {name: by_group(scores, labels) for name, labels in groupings.items() if _is_grouping(labels)},
        "further": RowScores(outputs, (*further_metrics(), *similarity) if has_texts else ()).overall(),
        "bounds": {name: found.to_dict() for name, found in bounds.items()},
    }


def _with_training(
    outputs: Outputs, rows: list[Row], train: Path | None, features: list[str] | None, encoding: str | None
) -> tuple[Outputs, dict[str, Any]]:
    """Add users, items and training texts to the outputs; return also the conditions that describe the texts."""
    users, items = ([name_of(row.get(column)) for row in rows] for column in ("user", "item"))
    outputs = replace(outputs, users=users if any(users) else None, items=items if any(items) else None)
    if train is None:
        return outputs, {}
    training, left_out = read_training_texts(train, list(zip(users, items, strict=True)), features, encoding)
    conditions: dict[str, Any] = {"train": train.name, "training_texts": training.describe()}
    if left_out:
        conditions["reviews_of_scored_pairs_left_out"] = left_out
    return replace(outputs, training=training), conditions


def _not_measured(outputs: Outputs, metrics: Metrics) -> dict[str, str]:
    """Say why metrics are null that this function knows how to get."""
    missing = reasons(outputs, metrics, "no training texts: name a prepared dataset or reviews with --train")
    missing |= dict.fromkeys(MODEL_METRICS, "it needs the model: gavamoe evaluate RUN")
    return missing if metrics[FLUENCY] is not None else missing | {FLUENCY: "name a language model with --fluency"}


def _has_texts(path: Path, rows: list[Row]) -> bool:
    """Return whether the system writes texts; it must do so in all rows or in none."""
    missing = sum(row["prediction"] is None for row in rows)
    if 0 < missing < len(rows):
        raise DataError(
            f"{path}: 'prediction' is null in {missing:,} of {len(rows):,} rows; write \"\" for an empty text, "
            "and null in every row if the system only predicts ratings"
        )
    return not missing


def _outputs(
    rows: list[Row], feature_set: list[str] | None, split: Callable[[str], list[str]], scale: RatingScale | None
) -> Outputs:
    """Build the outputs of the rows, whose texts and features `split` turns into words."""

    def as_scored(text: str) -> str:
        return " ".join(split(text))

    features = [as_scored(row.get("feature") or "") or None for row in rows]
    known_features = {as_scored(feature) for feature in feature_set or filter(None, features)}
    ratings = [row.get("rating") for row in rows]
    return Outputs(
        [split(row["prediction"] or "") for row in rows],
        [split(row["reference"]) for row in rows],
        features,
        known_features,
        predicted=[row.get("predicted_rating") for row in rows],
        true=ratings,
        scale=scale.bounds if scale else _inferred_scale(ratings),
        has_reference=[bool(row["reference"].strip()) for row in rows],
    )


def _inferred_scale(ratings: list[float | None]) -> tuple[float, float] | None:
    """Return the lowest and highest rating of the scale that fits the ratings; None if no scale does."""
    known = [rating for rating in ratings if rating is not None]
    try:
        low, high = RatingScale.infer(pl.Series(known, dtype=pl.Float64)).bounds
    except DataError:
        return None
    return (low, high) if low <= min(known) and max(known) <= high else None


def _similarity_metrics(model: Path | str) -> tuple[Metric, ...]:
    # Imported here because torch and transformers take seconds to load, and most callers do not use them.
    from gavamoe.evaluation.metrics.similarity import SimilarityModel

    return SimilarityModel(model).metrics


def _sparsity(rows: list[Row]) -> list[str | None]:
    """Return each row's group by its user's number of training reviews; all None unless every row has that number."""
    counts: list[Any] = [row.get(TRAINING_REVIEWS) for row in rows]
    if not all(isinstance(count, int) and count >= 0 for count in counts):
        return [None] * len(rows)
    by_user = {str(row.get("user", place)): count for place, (row, count) in enumerate(zip(rows, counts, strict=True))}
    known = [count for count in by_user.values() if count]
    return [*SparsityGroups.fit(known).labels(counts)] if known else [None] * len(rows)


def _is_grouping(labels: list[Any]) -> bool:
    """Return whether the labels are plain values of at least two and at most MAX_GROUPS kinds."""
    types = {type(label) for label in labels if label is not None}
    return types <= {int, float, str} and 1 < len({label for label in labels if label is not None}) <= MAX_GROUPS


def read_feature_set(path: Path, encoding: str | None = None) -> list[str]:
    """Read features from a file: one per line, or a JSON list of strings.

    Args:
        path: a text file, plain or compressed.
        encoding: its encoding; None to detect it.

    Raises:
        DataError: the file is no valid JSON list, holds no feature, or holds a blank one.
    """
    try:
        text = TextFile(locate(path), encoding)
        lines = [line.decode("utf-8", "replace").strip() for chunk in text.chunks() for _, line in chunk.numbered()]
    except EmptyFileError:
        lines = []
    if not lines:
        raise DataError(f"{path} is empty: expected features")
    features: Any = lines
    if lines[0].startswith("{"):
        raise DataError(f"{path} is a JSON object; give one feature per line, or a JSON list of strings")
    if lines[0].startswith("["):
        try:
            features = json.loads("\n".join(lines))
        except json.JSONDecodeError as error:
            raise DataError(f"{path} is not a JSON list of features: {error}") from None
    if not features or not all(isinstance(feature, str) and feature.strip() for feature in features):
        raise DataError(f"{path} holds no features, or blank ones; give one per line, or a JSON list of strings")
    return [str(feature) for feature in features]


def _read_rows(path: Path, encoding: str | None, records: str | None) -> tuple[list[Row], Reading]:
    """Read and check the rows of a file of any format."""
    try:
        reader = open_rows(path, BadLines(), encoding=encoding, records=records)
        values = reader.objects() if isinstance(reader, JsonReader) else _typed_rows(path, reader)
        rows = []
        for number, row in values:
            if not isinstance(row, dict):
                raise DataError(f"{path}, line {number}: expected an object with prediction and reference")
            _check_row(path, number, row)
            rows.append({**row, "reference": row["reference"] or ""})
    except EmptyFileError:
        rows = []
    if not rows:
        raise DataError(f'{path} is empty: expected lines like {{"prediction": "...", "reference": "..."}}')
    return rows, reader.reading


def _typed_rows(path: Path, reader: RowReader) -> Iterator[tuple[int, Row]]:
    """Yield (line, row) of a table of strings: numbers where they are expected, null for empty cells.

    An empty prediction is an empty text, unless the column is empty throughout: then the system only predicts ratings.
    """
    has_texts = False
    rows: list[tuple[int, Row]] = []
    for batch in reader.batches(reader.columns):
        for row in batch.iter_rows(named=True):
            number = row.pop(LINE)
            has_texts = has_texts or bool(row.get("prediction"))
            rows.append((number, {name: _typed(path, number, name, value) for name, value in row.items()}))
    for number, row in rows:
        if has_texts and "prediction" in row:
            row["prediction"] = row["prediction"] or ""
        yield number, row


def _typed(path: Path, number: int, name: str, value: str | None) -> Any:
    """Convert a cell to the type that a JSON file would give it."""
    if value is None or name not in (*NUMBERS, "cluster", TRAINING_REVIEWS, "oracle"):
        return value
    if name == "oracle":
        return value.strip().lower() in ("true", "1", "yes")
    try:
        amount = float(value)
    except ValueError:
        if name in NUMBERS:
            raise DataError(f"{path}, line {number}: '{name}' must be a number, not {value[:40]!r}") from None
        return value
    return int(amount) if amount.is_integer() else amount


def _check_row(path: Path, number: int, row: Row) -> None:
    """Raise `DataError` with file and line if a column is missing or has the wrong type."""
    for name in TEXTS:
        if name not in row:
            raise DataError(f"{path}, line {number}: '{name}' is missing; found {', '.join(row) or 'nothing'}")
        may_be_null = name == "reference" or row.get("predicted_rating") is not None
        if not isinstance(row[name], str) and not (row[name] is None and may_be_null):
            raise DataError(f"{path}, line {number}: '{name}' must be a text, not {shortened(repr(row[name]), 40)}")
    if not isinstance(row.get(OPTIONAL_TEXT), str | None):
        raise DataError(f"{path}, line {number}: '{OPTIONAL_TEXT}' must be a text, not {row[OPTIONAL_TEXT]!r}")
    if not isinstance(row.get("oracle"), bool | None):
        raise DataError(f"{path}, line {number}: 'oracle' must be true or false, not {row['oracle']!r}")
    for name in NUMBERS:
        value = row.get(name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        # The comparison also rejects NaN and integers that are too large for a float.
        if value is not None and not (is_number and abs(value) <= sys.float_info.max):
            raise DataError(f"{path}, line {number}: '{name}' must be a number, not {str(value)[:40]}")
