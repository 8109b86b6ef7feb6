"""Evidence: what others of the same taste wrote of the item; training sentences, found for a pair and scored.

Candidates are sentences about the item by users whose pair with it has the cluster of the pair in question. A user's
own words are never evidence for the user's own pair, and only training reviews are ever kept. The score is the mean of
the parts that apply, each in 0..1:

    taste        exp(-d^2 / s^2) of the two users' latents; s^2 is the mean squared distance of two users
    rating       1 - |predicted level of the pair - level the other gave| / (R - 1)
    feature      1 where the sentence speaks of the feature asked for; applies only where one is
    information  x / (x + median), x the summed inverse document frequency of the sentence's words

A query looks at the sentences of its item and at no others. Suffixes: N sentences or pairs, U users, D latent.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from gavamoe.errors import RunError
from gavamoe.features.extractor import FeatureExtractor
from gavamoe.features.sentences import split_sentences
from gavamoe.features.tokens import Tokens

FILE = "evidence.parquet"


@dataclass(frozen=True)
class Query:
    """A pair to find evidence for: ids, cluster, predicted level in 1..R, and the feature asked for, if any."""

    user_id: int
    item_id: int
    cluster: int
    level: float
    feature: str | None = None


@dataclass(frozen=True)
class EvidenceSentence:
    """A sentence of the index: its author's id, the level and cluster of the review, the parts of its score."""

    text: str
    user_id: int
    level: int
    cluster: int
    feature: str | None
    parts: dict[str, float]

    @property
    def score(self) -> float:
        """The mean of the parts."""
        return float(np.mean(list(self.parts.values())))


@dataclass(frozen=True)
class EvidenceIndex:
    """Sentences sorted by item (COLUMNS), read when first needed; users_UD: each user's latent, row 0 the unknown."""

    source: pl.LazyFrame
    users_UD: np.ndarray
    levels: int

    def find(self, query: Query, count: int) -> list[EvidenceSentence]:
        """The best sentences, best first: at most one a user, and none twice."""
        if not count or not query.item_id:
            return []
        rows = np.arange(*np.searchsorted(self._column["item_id"], [query.item_id, query.item_id + 1]))
        other = self._column["user_id"][rows] != query.user_id
        rows = rows[other & (self._column["cluster"][rows] == query.cluster)]
        if not len(rows):
            return []
        parts = self._parts(query, rows)
        order = np.lexsort((rows, -np.mean(list(parts.values()), axis=0)))  # of equals the first
        best: list[EvidenceSentence] = []
        heard: set[int | str] = set()  # authors and texts
        for at in order:
            found = self._found(rows[at], {name: float(part[at]) for name, part in parts.items()})
            if heard.isdisjoint((found.user_id, found.text)):
                best.append(found)
                heard |= {found.user_id, found.text}
            if len(best) == count:
                break
        return best

    def around(self, user_id: int, item_id: int, count: int) -> tuple[list[str], list[str]]:
        """The first `count` sentences that the user wrote of other items, and that others wrote of the item."""
        users, items = self._column["user_id"], self._column["item_id"]
        written = self._by_user[slice(*np.searchsorted(users, [user_id, user_id + 1], sorter=self._by_user))]
        about = np.arange(*np.searchsorted(items, [item_id, item_id + 1]))
        elsewhere, others = written[items[written] != item_id], about[users[about] != user_id]
        return self._texts(elsewhere[:count]), self._texts(others[:count])

    def _texts(self, rows: np.ndarray) -> list[str]:
        return self.sentences["text"][rows.tolist()].to_list()

    def _found(self, row: int, parts: dict[str, float]) -> EvidenceSentence:
        at = self.sentences.row(int(row), named=True)
        return EvidenceSentence(at["text"], at["user_id"], at["level"], at["cluster"], at["feature"], parts)

    def _parts(self, query: Query, rows: np.ndarray) -> dict[str, np.ndarray]:
        away = self.users_UD[self._column["user_id"][rows]] - self.users_UD[query.user_id]
        gap = np.abs(self._column["level"][rows] - query.level) / max(self.levels - 1, 1)
        parts = {"taste": np.exp(-(away**2).sum(1) / self._spread), "rating": 1 - np.clip(gap, 0, 1)}
        if query.feature:
            parts["feature"] = (self._column["feature"][rows] == query.feature).astype(float)
        return {**parts, "information": self._column["information"][rows]}

    @cached_property
    def sentences(self) -> pl.DataFrame:
        """All of them."""
        return self.source.collect()

    @cached_property
    def _column(self) -> dict[str, np.ndarray]:
        return {name: self.sentences[name].to_numpy() for name in COLUMNS if name != "text"}

    @cached_property
    def _by_user(self) -> np.ndarray:
        """Rows sorted by user."""
        return np.argsort(self._column["user_id"], kind="stable")

    @cached_property
    def _spread(self) -> float:
        """Mean squared distance of two users: twice the variance, summed over dimensions."""
        return max(2 * float(self.users_UD[1:].var(0).sum()), 1e-12) if len(self.users_UD) > 1 else 1.0

    def save(self, directory: Path) -> None:
        """Write evidence.parquet."""
        self.sentences.write_parquet(directory / FILE)

    @classmethod
    def load(cls, directory: Path, users_UD: np.ndarray, levels: int) -> EvidenceIndex:
        """What `save` wrote; without the file, which holds what people wrote, a run works and has no evidence."""
        path = directory / FILE
        if not path.is_file():
            return cls(EMPTY.lazy(), users_UD, levels)
        try:
            readable = pl.read_parquet_schema(path) == EMPTY.schema
        except (pl.exceptions.PolarsError, OSError):
            readable = False
        if not readable:
            raise RunError(f"{path} is damaged or of another version; copy it again, or delete it to have no evidence")
        return cls(pl.scan_parquet(path), users_UD, levels)

    @classmethod
    def fit(
        cls,
        train: pl.DataFrame,
        cluster_N: np.ndarray,
        users_UD: np.ndarray,
        levels: int,
        extractor: FeatureExtractor | None,
    ) -> EvidenceIndex:
        """From training reviews with user_id, item_id, level, text, feature, and the cluster of each."""
        return cls(evidence_sentences(train, cluster_N, extractor).lazy(), users_UD, levels)


@dataclass(frozen=True)
class PairEvidence:
    """Evidence for N pairs: ids, cluster and predicted level [N].

    The predicted level, also where the prompt states the true one: what others wrote is chosen without ground truth.
    """

    index: EvidenceIndex
    user_id: np.ndarray
    item_id: np.ndarray
    cluster: np.ndarray
    level: np.ndarray

    def find(self, row: int, feature: str | None, count: int) -> list[EvidenceSentence]:
        """The best sentences for a pair, with the feature that its text is to speak of, if any."""
        ids = int(self.user_id[row]), int(self.item_id[row])
        return self.index.find(Query(*ids, int(self.cluster[row]), float(self.level[row]), feature), count)

    def texts(self, row: int, feature: str | None, count: int) -> tuple[str, ...]:
        """The same, the sentences alone."""
        return tuple(found.text for found in self.find(row, feature, count))


FEWEST_WORDS = 3  # a shorter piece of a review says nothing by itself


EMPTY = pl.DataFrame(
    schema={
        "item_id": pl.Int32,
        "user_id": pl.Int32,
        "level": pl.Int8,
        "cluster": pl.Int32,
        "feature": pl.String,
        "information": pl.Float32,
        "text": pl.String,
    }
)


COLUMNS = tuple(EMPTY.columns)


def evidence_sentences(train: pl.DataFrame, cluster_N: np.ndarray, extractor: FeatureExtractor | None) -> pl.DataFrame:
    """Sentences sorted by item (COLUMNS) of reviews with user_id, item_id, level, text, feature and cluster [N]."""
    reviews = train.select("item_id", "user_id", "level", "feature", "text").with_columns(
        pl.Series("cluster", cluster_N, dtype=pl.Int32)
    )
    sentences = (
        reviews.with_columns(text=split_sentences(reviews["text"]))
        .explode("text")
        .with_columns(pl.col("text").str.strip_chars())
        .filter((pl.col("item_id") > 0) & (pl.col("text").str.count_matches(r"\S+") >= FEWEST_WORDS))
        .sort("item_id", maintain_order=True)
    )
    if sentences.is_empty():
        return EMPTY
    if extractor is not None:
        feature = extractor.extract(sentences["text"])
    else:  # the source named the feature of the review; it is that of the sentence that has the word
        said = pl.col("text").str.to_lowercase().str.contains(pl.col("feature").str.to_lowercase(), literal=True)
        feature = sentences.select(pl.when(said).then("feature").alias("feature"))["feature"]
    sentences = sentences.with_columns(feature=feature, information=information(sentences["text"]))
    return sentences.select(pl.col(name).cast(dtype) for name, dtype in EMPTY.schema.items())


def information(texts: pl.Series) -> pl.Series:
    """How much each sentence says, [N] in 0..1: rare words count, and half is what the median sentence says."""
    tokens = Tokens.from_texts(texts)
    words = pl.DataFrame({"row": tokens.row, "word": tokens.code}).unique()
    idf = words.group_by("word").agg((len(texts) / pl.len()).log().alias("idf"))
    # Rounded, because the order of a parallel sum must not decide between two sentences.
    found = words.join(idf, on="word").group_by("row").agg(pl.col("idf").sum().round(6))
    rows = pl.DataFrame({"row": pl.int_range(len(texts), eager=True)})
    total = rows.join(found, on="row", how="left", maintain_order="left")["idf"].fill_null(0.0)
    median = float(total.median() or 0.0)  # type: ignore[arg-type]
    return (total / (total + max(median, 1e-12))).cast(pl.Float32)
