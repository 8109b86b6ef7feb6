"""Filters: drop reviews that are repeated, too short, in another language, or outside the k-core."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from gavamoe.data.prepare.ingest import Ingested
from gavamoe.errors import DataError

INSTALL_LINGUA = "pip install 'gavamoe[language]'"


def filter_texts(ingested: Ingested, min_words: int, language: str | None) -> dict[str, np.ndarray]:
    """Apply the filters on texts.

    Args:
        ingested: the reviews of all sources.
        min_words: minimum number of words; 0 for no filter.
        language: ISO 639-1 code; None for no filter.

    Returns:
        By the name of each active filter, which reviews pass it, bool [n].
    """
    filters: dict[str, pl.Expr] = {}
    if min_words:
        filters[f"fewer than {min_words} words"] = pl.col("words") >= min_words
    if language:
        _iso_code(language)  # a wrong one is refused before any text is read
        filters[f"not in language {language}"] = pl.col("text").map_batches(
            lambda texts: is_in_language(texts, language), return_dtype=pl.Boolean, is_elementwise=True
        )
    if not filters:
        return {}
    passes = ingested.scan().select(**filters).collect(engine="streaming")
    return {name: passes[name].to_numpy() for name in filters}


def is_in_language(texts: pl.Series, code: str) -> pl.Series:
    """Detect which texts are in a language, with the optional package lingua.

    Args:
        texts: [n] strings; a text without letters is in no language.
        code: ISO 639-1 code, such as en.

    Returns:
        bool [n].

    Raises:
        DataError: lingua is not installed, or does not know the language.
    """
    wanted = _iso_code(code)
    from lingua import LanguageDetectorBuilder

    detector = LanguageDetectorBuilder.from_all_languages().with_low_accuracy_mode().build()
    found = detector.detect_languages_in_parallel_of(texts.to_list())
    return pl.Series(
        [language is not None and language.iso_code_639_1 == wanted for language in found], dtype=pl.Boolean
    )


def _iso_code(code: str) -> Any:
    """Return lingua's name of a language; raise `DataError` if lingua is not installed or does not know it."""
    try:
        from lingua import IsoCode639_1
    except ImportError:
        raise DataError(f"--language needs the package lingua: {INSTALL_LINGUA}") from None
    wanted = getattr(IsoCode639_1, code.upper(), None)
    if wanted is None:
        raise DataError(f"--language {code}: expected an ISO 639-1 code, such as en")
    return wanted


def latest_of_each_pair(user: np.ndarray, item: np.ndarray, timestamp: pl.Series, among: np.ndarray) -> np.ndarray:
    """Mark the latest of the reviews of each (user, item) pair.

    Args:
        user: user code of each review, [n].
        item: item code of each review, [n].
        timestamp: time of each review, [n]; of reviews without times, the last in the source counts as the latest.
        among: the reviews to choose from, bool [n]; the others are marked False.

    Returns:
        bool [n], True for exactly one review of each pair that has any.
    """
    pairs = pl.DataFrame({"user": user, "item": item, "time": timestamp, "row": np.arange(len(user))}).filter(among)
    repeated = pairs.filter(pl.struct("user", "item").is_duplicated())  # most pairs are unique and need no sorting
    latest = repeated.sort("time", "row", nulls_last=False).unique(["user", "item"], keep="last", maintain_order=True)
    keep = among.copy()
    keep[repeated["row"].to_numpy()] = False
    keep[latest["row"].to_numpy()] = True
    return keep


def k_core(user: np.ndarray, item: np.ndarray, keep: np.ndarray, k: int) -> np.ndarray:
    """Compute the k-core: drop users and items with fewer than k reviews until all others have at least k.

    The k-core is unique: it does not depend on the order of dropping.

    Args:
        user: user code of each review, [n].
        item: item code of each review, [n].
        keep: the reviews to start from, bool [n].
        k: minimum number of reviews.

    Returns:
        The reviews of the k-core, a subset of `keep`, bool [n].
    """
    keep = keep.copy()
    while True:
        enough = np.ones_like(keep)
        for code in (user, item):
            counts = np.bincount(code[keep], minlength=int(code.max(initial=-1)) + 1)
            enough &= counts[code] >= k
        if enough[keep].all():
            return keep
        keep &= enough
