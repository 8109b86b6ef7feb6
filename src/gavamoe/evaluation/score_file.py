"""Any system's outputs in a file: read, checked line by line, scored."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from gavamoe.data.readers.lines import chunks, read_start
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
) -> dict[str, Any]:
    """Score a file of rows {"prediction", "reference"[, "feature", "rating", "predicted_rating"]}; plain, gzip or zstd.

    RMSE and MAE are over the rows with both ratings; predictions are clipped to the scale, without one to the scale
    that the true ratings follow (`RatingScale.infer`; 4 and 5 stars are of 1 to 5), and not where they follow none.
    Where every prediction is null, the system only rates. Rows with a blank reference count for ratings only. Without a
    feature set, the features of the file are the set. `normalized`: texts and features alike. Rows are grouped by
    rating and, where they have them, by cluster and by the user's `training_reviews` (into groups of about as many of
    the file's users); `oracle` is known where every row says so.

    Returns:
        n, conditions, metrics, intervals (95 % confidence), groups, and the further metrics that the field's tables
        lack, as `gavamoe score --json` prints them.

    Raises:
        DataError: names file and line of what is wrong.
    """
    rows = list(_read_rows(path))
    similarity = _similarity_metrics(similarity_model) if similarity_model else ()
    writes = _writes(path, rows)
    outputs = _outputs(rows, read_feature_set(feature_set) if feature_set else None, normalized, scale)
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


def read_feature_set(path: Path) -> list[str]:
    """Features, one a line or as a JSON list."""
    lines = [line.decode("utf-8", "replace").strip() for _, line in _lines(path, "features")]
    features: Any = lines
    if lines[0].startswith("["):
        try:
            features = json.loads("\n".join(lines))
        except json.JSONDecodeError as error:
            raise DataError(f"{path} is not a JSON list of features: {error}") from None
    if not features or not all(isinstance(feature, str) and feature.strip() for feature in features):
        raise DataError(f"{path} holds no features, or blank ones; give one a line, or a JSON list of strings")
    return features


def _read_rows(path: Path) -> Iterator[Row]:
    for number, line in _lines(path, 'lines like {"prediction": "...", "reference": "..."}'):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, line {number}: not JSON ({error.msg})") from None
        except UnicodeDecodeError:
            raise DataError(f"{path}, line {number}: not UTF-8 text") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: expected an object with prediction and reference")
        _check(path, number, row)
        yield row


def _check(path: Path, number: int, row: Row) -> None:
    for name in TEXTS:
        if name not in row:
            raise DataError(f"{path}, line {number}: '{name}' is missing; found {', '.join(row) or 'nothing'}")
        only_rates = name == "prediction" and row[name] is None and row.get("predicted_rating") is not None
        if not isinstance(row[name], str) and not only_rates:
            raise DataError(f"{path}, line {number}: '{name}' must be a text, not {row[name]!r}")
    if not isinstance(row.get(OPTIONAL_TEXT), str | None):
        raise DataError(f"{path}, line {number}: '{OPTIONAL_TEXT}' must be a text, not {row[OPTIONAL_TEXT]!r}")
    for name in NUMBERS:
        value = row.get(name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        # Comparing refuses NaN, and integers too large for a float, too.
        if value is not None and not (is_number and abs(value) <= sys.float_info.max):
            raise DataError(f"{path}, line {number}: '{name}' must be a number, not {str(value)[:40]}")


def _lines(path: Path, expected: str) -> Iterator[tuple[int, bytes]]:
    """(number, line) of the lines that are not blank, of which there is one at least."""
    found = False
    if read_start(path, 1):
        for chunk in chunks(path):
            for number, line in chunk.numbered():
                found = True
                yield number, line
    if not found:
        raise DataError(f"{path} is empty: expected {expected}")
