"""Any system's outputs in a file: read, checked line by line, scored."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from gavamoe.data.readers.formats import open_rows
from gavamoe.data.readers.inputs import EmptyFileError, locate
from gavamoe.data.readers.json_lines import JsonReader
from gavamoe.data.readers.lines import TextFile
from gavamoe.data.readers.reading import Reading, printable
from gavamoe.data.readers.rows import LINE, BadLines, RowReader
from gavamoe.data.scale import RatingScale
from gavamoe.errors import DataError
from gavamoe.evaluation.groups import SPARSITY, TRAINING_REVIEWS, SparsityGroups, by_group
from gavamoe.evaluation.metrics.metric import Metric
from gavamoe.evaluation.normalize import normalize
from gavamoe.evaluation.outputs import Outputs
from gavamoe.evaluation.row_scores import RowScores
from gavamoe.evaluation.score import RATING_METRICS, STANDARD_METRICS, further_metrics
from gavamoe.evaluation.significance import confidence_intervals

TEXTS, OPTIONAL_TEXT, NUMBERS = ("prediction", "reference"), "feature", ("rating", "predicted_rating")
# Columns whose values part the rows into groups, where there are no more values than a person would read.
GROUPINGS, MOST_GROUPS = ("rating", "cluster"), 20

Row = dict[str, Any]


def score_file(
    path: Path,
    feature_set: Path | None = None,
    normalized: bool = False,
    similarity_model: Path | None = None,
    scale: RatingScale | None = None,
    encoding: str | None = None,
    records: str | None = None,
) -> dict[str, Any]:
    """Score a file of rows {"prediction", "reference"[, "feature", "rating", "predicted_rating"]}.

    The rows may be JSON lines, a JSON array, CSV, TSV, Parquet or a sheet, plain, compressed or in an archive.

    RMSE and MAE are over the rows with both ratings; predictions are clipped to the scale, without one to the scale
    that the true ratings follow (`RatingScale.infer`; 4 and 5 stars are of 1 to 5), and not where they follow none.
    Where every prediction is null, the system only rates. Rows with a blank or null reference count for ratings only.
    Without a feature set, the features of the file are the set. `normalized`: texts and features alike. Rows are
    grouped by rating and, where they have them, by cluster and by the user's `training_reviews` (into groups of about
    as many of the file's users); `oracle` is known where every row says so.

    Returns:
        n, conditions, metrics, intervals (95 % confidence), groups, and the further metrics that the field's tables
        lack, as `gavamoe score --json` prints them.

    Raises:
        DataError: names file and line of what is wrong.
    """
    rows, reading = _read_rows(path, encoding, records)
    similarity = _similarity_metrics(similarity_model) if similarity_model else ()
    writes = _writes(path, rows)
    outputs = _outputs(rows, read_feature_set(feature_set, encoding) if feature_set else None, normalized, scale)
    scores = RowScores(outputs, STANDARD_METRICS if writes else RATING_METRICS)
    conditions = {
        "source": path.name,
        "normalization": "lowercase, punctuation split from words" if normalized else "as given, split on white space",
        "feature_set": feature_set.name if feature_set else "features of the file",
        "features": len(outputs.known_features),
        "rating_scale": outputs.scale,
        "oracle": any(row["oracle"] for row in rows) if all("oracle" in row for row in rows) else None,
        "empty": sum(not words for words in outputs.predictions) if writes else None,
        "similarity_model": str(similarity_model) if similarity_model else None,
    }
    if reading.describe():
        conditions["read_as"] = "; ".join(reading.describe())
    groupings = {SPARSITY: _sparsity(rows), **{name: [row.get(name) for row in rows] for name in GROUPINGS}}
    return {
        "n": len(rows),
        "conditions": conditions,
        "metrics": scores.overall(),
        "intervals": confidence_intervals(scores),
        "groups": {name: by_group(scores, labels) for name, labels in groupings.items() if _few_kinds(labels)},
        "further": RowScores(outputs, (*further_metrics(), *similarity) if writes else ()).overall(),
    }


def _writes(path: Path, rows: list[Row]) -> bool:
    """Whether the system writes texts: in all rows, or in none."""
    silent = sum(row["prediction"] is None for row in rows)
    if 0 < silent < len(rows):
        raise DataError(
            f"{path}: 'prediction' is null in {silent:,} of {len(rows):,} rows; write \"\" where nothing was said, "
            "and null in every row only of a system that only rates"
        )
    return not silent


def _outputs(rows: list[Row], feature_set: list[str] | None, normalized: bool, scale: RatingScale | None) -> Outputs:
    def as_scored(text: str) -> str:
        return " ".join((normalize(text) if normalized else text).split())

    features = [as_scored(row.get("feature") or "") or None for row in rows]
    known_features = {as_scored(feature) for feature in feature_set or filter(None, features)}
    ratings = [row.get("rating") for row in rows]
    return Outputs(
        [as_scored(row["prediction"] or "").split() for row in rows],
        [as_scored(row["reference"]).split() for row in rows],
        features,
        known_features,
        predicted=[row.get("predicted_rating") for row in rows],
        true=ratings,
        scale=scale.bounds if scale else _scale(ratings),
        described=[bool(row["reference"].strip()) for row in rows],
    )


def _scale(ratings: list[float | None]) -> tuple[float, float] | None:
    """Lowest and highest rating of the scale that the ratings follow; None where they follow none."""
    known = [rating for rating in ratings if rating is not None]
    try:
        low, high = RatingScale.infer(pl.Series(known, dtype=pl.Float64)).bounds
    except DataError:
        return None
    return (low, high) if low <= min(known) and max(known) <= high else None


def _similarity_metrics(model: Path) -> tuple[Metric, ...]:
    # torch and transformers take seconds to load, and most callers do without.
    from gavamoe.evaluation.metrics.similarity import SimilarityModel

    return SimilarityModel(model).metrics


def _sparsity(rows: list[Row]) -> list[str | None]:
    """The group of each row by how many training reviews its user has, where every row says so."""
    counts: list[Any] = [row.get(TRAINING_REVIEWS) for row in rows]
    if not all(isinstance(count, int) and count >= 0 for count in counts):
        return [None] * len(rows)
    of_users = {str(row.get("user", place)): count for place, (row, count) in enumerate(zip(rows, counts, strict=True))}
    known = [count for count in of_users.values() if count]
    return [*SparsityGroups.fit(known).labels(counts)] if known else [None] * len(rows)


def _few_kinds(labels: list[Any]) -> bool:
    kinds = {type(label) for label in labels if label is not None}
    return kinds <= {int, float, str} and 1 < len({label for label in labels if label is not None}) <= MOST_GROUPS


def read_feature_set(path: Path, encoding: str | None = None) -> list[str]:
    """Features, one a line or as a JSON list."""
    try:
        text = TextFile(locate(path), encoding)
        lines = [line.decode("utf-8", "replace").strip() for chunk in text.chunks() for _, line in chunk.numbered()]
    except EmptyFileError:
        lines = []
    if not lines:
        raise DataError(f"{path} is empty: expected features")
    features: Any = lines
    if lines[0].startswith("["):
        try:
            features = json.loads("\n".join(lines))
        except json.JSONDecodeError as error:
            raise DataError(f"{path} is not a JSON list of features: {error}") from None
    if not features or not all(isinstance(feature, str) and feature.strip() for feature in features):
        raise DataError(f"{path} holds no features, or blank ones; give one a line, or a JSON list of strings")
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
            _check(path, number, row)
            rows.append({**row, "reference": row["reference"] or ""})
    except EmptyFileError:
        rows = []
    if not rows:
        raise DataError(f'{path} is empty: expected lines like {{"prediction": "...", "reference": "..."}}')
    return rows, reader.reading


def _typed_rows(path: Path, reader: RowReader) -> Iterator[tuple[int, Row]]:
    """Yield (line, row) of a table of strings: numbers where they are expected, null for empty cells.

    An empty prediction is an empty text, unless the column is empty throughout: then the system only rates.
    """
    writes = False
    rows: list[tuple[int, Row]] = []
    for batch in reader.batches(reader.columns):
        for row in batch.iter_rows(named=True):
            number = row.pop(LINE)
            writes = writes or bool(row.get("prediction"))
            rows.append((number, {name: _typed(path, number, name, value) for name, value in row.items()}))
    for number, row in rows:
        if writes and "prediction" in row:
            row["prediction"] = row["prediction"] or ""
        yield number, row


def _typed(path: Path, number: int, name: str, value: str | None) -> Any:
    """Convert a cell to the type that a JSON file would give it."""
    if value is None or name not in (*NUMBERS, "cluster", TRAINING_REVIEWS, "oracle"):
        return value
    if name == "oracle":
        return value.strip().lower() in ("true", "1", "yes")
    try:
        number_ = float(value)
    except ValueError:
        if name in NUMBERS:
            raise DataError(f"{path}, line {number}: '{name}' must be a number, not {value[:40]!r}") from None
        return value
    return int(number_) if number_.is_integer() else number_


def _check(path: Path, number: int, row: Row) -> None:
    for name in TEXTS:
        if name not in row:
            raise DataError(f"{path}, line {number}: '{name}' is missing; found {', '.join(row) or 'nothing'}")
        only_rates = name == "prediction" and row[name] is None and row.get("predicted_rating") is not None
        only_rates = only_rates or (name == "reference" and row[name] is None)
        if not isinstance(row[name], str) and not only_rates:
            raise DataError(f"{path}, line {number}: '{name}' must be a text, not {printable(repr(row[name]), 40)}")
    if not isinstance(row.get(OPTIONAL_TEXT), str | None):
        raise DataError(f"{path}, line {number}: '{OPTIONAL_TEXT}' must be a text, not {row[OPTIONAL_TEXT]!r}")
    for name in NUMBERS:
        value = row.get(name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        # Comparing refuses NaN, and integers too large for a float, too.
        if value is not None and not (is_number and abs(value) <= sys.float_info.max):
            raise DataError(f"{path}, line {number}: '{name}' must be a number, not {str(value)[:40]}")
