"""Read the training texts that `gavamoe score --train` names: a prepared dataset, or a file of reviews."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import polars as pl

from gavamoe.data.dataset import HAS_TEXT, ReviewDataset
from gavamoe.data.readers.open import ReadOptions, read_reviews
from gavamoe.errors import DataError
from gavamoe.evaluation.training_texts import TrainingTexts, name_of
from gavamoe.features.extractor import FeatureExtractor
from gavamoe.features.language import detect_language
from gavamoe.features.lexicon import SEED_OPINIONS
from gavamoe.features.mining import mine_features

Pair = tuple[str | None, str | None]


def read_training_texts(
    source: Path,
    scored: Sequence[Pair],
    features: Collection[str] | None = None,
    encoding: str | None = None,
) -> tuple[TrainingTexts, int]:
    """Read training texts, and the features that statements are about.

    A prepared dataset, or a file with a split column, gives its rows of `train`. Another file gives all rows but the
    reviews of the scored pairs, which are the references. Features are the given ones, else those of the dataset or of
    the file's feature column, else mined from English texts.

    Args:
        source: a prepared dataset, or a reviews file with user, item and text.
        scored: user and item of the rows that are scored, [n].
        features: all features; None if no feature set was named.
        encoding: the encoding of text files; None to detect it.

    Returns:
        The training texts, and how many reviews of scored pairs were left out.

    Raises:
        DataError: the source cannot be read, holds no text, or none of its users and items is among the scored ones; or
            a file without a split is named, and a scored row has no user or no item, so that its own review in the file
            cannot be found.
    """
    if source.is_dir():
        dataset = ReviewDataset.load(source)
        train, extractor, left_out = dataset.interactions("train"), dataset.catalog.extractor, 0
    else:
        frame = read_reviews(source, ReadOptions(encoding=encoding))
        if "split" in frame.columns:
            train, left_out = _train_rows(source, frame), 0
        else:
            train, left_out = _without(source, frame, scored)
        extractor = _extractor(train)
    if features:
        extractor = FeatureExtractor(dict.fromkeys(sorted(features), 1.0), SEED_OPINIONS)
    training = TrainingTexts.from_reviews(train, extractor)
    if training is None:
        raise DataError(f"{source} holds no training texts; give a prepared dataset, or reviews with user, item, text")
    known = {*training.users, *training.items} - {None}
    if not any(name in known for pair in scored for name in pair):
        raise DataError(
            f"{source} has none of the users and items of the scored rows; both need the same names, "
            "in columns user and item"
        )
    return training, left_out


def _train_rows(source: Path, frame: pl.DataFrame) -> pl.DataFrame:
    train = frame.filter(pl.col("split") == "train")
    if train.is_empty():
        found = ", ".join(map(str, sorted(frame["split"].drop_nulls().unique().to_list())))
        raise DataError(f"{source} has no rows of split 'train'; its split column has {found}")
    return train


def _without(source: Path, frame: pl.DataFrame, scored: Sequence[Pair]) -> tuple[pl.DataFrame, int]:
    """Leave out the reviews of scored pairs; return the others, and how many were left out."""
    for number, pair in enumerate(scored, start=1):
        if None in pair:
            missing = "user" if pair[0] is None else "item"
            raise DataError(
                f"scored row {number} has no {missing}, so its own review in {source} cannot be left out; name users "
                "and items in all scored rows, or a prepared dataset or a file with a split column"
            )
    pairs = set(scored)
    names = frame.select("user", "item").iter_rows()
    kept = pl.Series([(name_of(user), name_of(item)) not in pairs for user, item in names], dtype=pl.Boolean)
    return frame.filter(kept), len(frame) - int(kept.sum())


def _extractor(train: pl.DataFrame) -> FeatureExtractor | None:
    """Return an extractor of the features of a column, or of mined ones; None without either."""
    given = train["feature"].drop_nulls().unique().sort().to_list() if "feature" in train.columns else []
    given = [feature for feature in given if feature.strip()]
    if given:
        return FeatureExtractor(dict.fromkeys(given, 1.0), SEED_OPINIONS)
    texts = train.filter(HAS_TEXT) if "text" in train.columns else train[:0]
    rated = texts.filter(pl.col("rating").is_not_null()) if "rating" in texts.columns else texts[:0]
    if rated.is_empty() or not detect_language(rated["text"]).has_english:
        return None
    return mine_features(rated["text"], rated["rating"])
