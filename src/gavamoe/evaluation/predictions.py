"""Any system's outputs in a file: read, checked line by line, scored."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gavamoe.errors import DataError
from gavamoe.evaluation.normalize import normalize
from gavamoe.evaluation.score import score_ratings, score_texts

TEXTS, OPTIONAL_TEXT, NUMBERS = ("prediction", "reference"), "feature", ("rating", "predicted_rating")


def score_file(path: Path, feature_set: Path | None = None, normalized: bool = False) -> dict[str, Any]:
    """n, conditions and metrics of a file of {"prediction", "reference"[, "feature", "rating", "predicted_rating"]}.

    RMSE and MAE join where every row has both ratings; predictions are clipped to the range of the true ones. Without a
    feature set, the features of the file are the set. `DataError` names file and line of what is wrong.
    """
    rows = list(_read_rows(path))
    if not rows:
        raise DataError(f'{path} has no predictions; a line looks like {{"prediction": "...", "reference": "..."}}')
    prepare = normalize if normalized else str
    features = [row.get("feature") for row in rows]
    known = read_feature_set(feature_set) if feature_set else sorted({feature for feature in features if feature})
    metrics = score_texts(
        [prepare(row["prediction"]) for row in rows], [prepare(row["reference"]) for row in rows], features, known
    )
    if all(row.get(name) is not None for row in rows for name in NUMBERS):
        true, predicted = (np.array([row[name] for row in rows], dtype=np.float64) for name in NUMBERS)
        metrics |= score_ratings(predicted, true, true.min(), true.max())
    else:
        metrics |= {"RMSE": None, "MAE": None}
    conditions = {
        "source": path.name,
        "normalization": "lowercase, punctuation split from words" if normalized else "as given, split on white space",
        "feature_set": feature_set.name if feature_set else "features of the file",
    }
    return {"n": len(rows), "conditions": conditions, "metrics": metrics}


def read_feature_set(path: Path) -> list[str]:
    """Features, one a line or as a JSON list."""
    content = "\n".join(text for _, text in _lines(path)).strip()
    features = [line.strip() for line in content.splitlines() if line.strip()]
    if content.startswith("["):
        try:
            features = json.loads(content)
        except json.JSONDecodeError as error:
            raise DataError(f"{path} is not a JSON list of features: {error}") from None
    if not features or not all(isinstance(feature, str) for feature in features):
        raise DataError(f"{path} holds no features; give one a line, or a JSON list of strings")
    return features


def _read_rows(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, line {number}: not JSON ({error.msg})") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: expected an object with prediction and reference")
        _check(path, number, row)
        yield row


def _check(path: Path, number: int, row: dict[str, Any]) -> None:
    for name in TEXTS:
        if not isinstance(row.get(name), str):
            found = (
                f"is {type(row[name]).__name__}" if name in row else f"is missing; found {', '.join(row) or 'nothing'}"
            )
            raise DataError(f"{path}, line {number}: '{name}' must be a text, and {found}")
    if not isinstance(row.get(OPTIONAL_TEXT), str | None):
        raise DataError(f"{path}, line {number}: 'feature' must be a text")
    for name in NUMBERS:
        value = row.get(name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)
        if value is not None and not is_number:
            raise DataError(f"{path}, line {number}: '{name}' must be a number, not {value!r}")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    number = 0
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                yield number, line
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise DataError(
            f"{path}: the gzip data is damaged or cut off after line {number}; copy the file again"
        ) from None
    except UnicodeDecodeError:
        raise DataError(f"{path}, line {number + 1}: not UTF-8 text") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
