"""Do the texts speak of the right features, of many, of different ones (Li et al. 2020, NETE)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

Words = Sequence[str]


def detect_features(predictions: Sequence[Words], feature_set: Collection[str]) -> list[set[str]]:
    """The features each text names: a feature of several words is named when they stand in a row."""
    sizes = sorted({len(feature.split()) for feature in feature_set})
    known = {tuple(feature.split()): feature for feature in feature_set}
    return [
        {
            known[gram]
            for size in sizes
            for gram in zip(*(words[start:] for start in range(size)), strict=False)
            if gram in known
        }
        for words in predictions
    ]


def matching_ratio(detected: Sequence[set[str]], features: Sequence[str]) -> float:
    """FMR: share of texts that name the feature of their reference."""
    return sum(feature in named for named, feature in zip(detected, features, strict=True)) / len(detected)


def coverage_ratio(detected: Sequence[set[str]], feature_set: Collection[str]) -> float:
    """FCR: share of all features that any text names."""
    return len(set().union(*detected)) / len(set(feature_set))


def feature_diversity(detected: Sequence[set[str]]) -> float | None:
    """DIV: mean number of features that two texts share; lower is more diverse; None for a single text.

    A feature named by m texts is shared by m (m - 1) / 2 pairs, so no pair has to be looked at.
    """
    counts = Counter(feature for named in detected for feature in named)
    pairs = len(detected) * (len(detected) - 1) / 2
    return sum(m * (m - 1) / 2 for m in counts.values()) / pairs if pairs else None
