"""Evidence: sentences from other users' training reviews of the item, retrieved for a pair and scored.

Candidates are sentences about the item by users whose pair with it has the cluster of the pair in question. A user's
own sentences are never evidence for that user's pair, and the index holds training reviews only. The score is the mean
of the parts that apply, each in 0..1:

    taste        exp(-d^2 / s^2), d the distance of the two users' latents, s^2 the mean of d^2 over all users
    rating       1 - |predicted level of the pair - level of the review| / (R - 1)
    feature      1 if the sentence mentions the requested feature; applies only if one is requested
    information  x / (x + median), x the summed inverse document frequency of the sentence's words

A prompt in words also quotes the user's sentences about other items (history), scored by rating, feature and
information. A query reads only the sentences of its item, or of its user. Shape suffixes: N sentences or pairs,
U users, D latent dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from gavamoe.errors import RunError
from gavamoe.features.cleaning import count_words
from gavamoe.features.extractor import FeatureExtractor
from gavamoe.features.sentences import split_sentences
from gavamoe.features.tokens import Tokens
from gavamoe.files import reading

FILE = "evidence.parquet"
MIN_WORDS = 3  # a shorter piece of a review says nothing by itself

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


@dataclass(frozen=True)
class Query:
    """A pair to retrieve evidence for.

    Args:
        user_id: the user, whose own sentences are excluded; 0 if unknown.
        item_id: the item; 0, the unknown item, has no evidence.
        cluster: cluster of the pair.
        level: predicted rating level in 1..R.
        feature: the feature that sentences should mention, if any.
    """

    user_id: int
    item_id: int
    cluster: int
    level: float
    feature: str | None = None


@dataclass(frozen=True)
class EvidenceSentence:
    """A sentence of the index: its author and item, level and cluster of its review, and the parts of its score."""

    text: str
    user_id: int
    item_id: int
    level: int
    cluster: int
    feature: str | None
    parts: dict[str, float]

    @property
    def score(self) -> float:
        """The mean of the parts, in 0..1."""
        return float(np.mean(list(self.parts.values())))


@dataclass(frozen=True)
class SentenceTable:
    """Training sentences sorted by item, read on first use.

    Args:
        source: the sentences (COLUMNS).
    """

    source: pl.LazyFrame

    @cached_property
    def frame(self) -> pl.DataFrame:
        """All sentences (COLUMNS)."""
        with reading(Path(FILE)):
            return self.source.collect()

    @cached_property
    def column(self) -> dict[str, np.ndarray]:
        """The columns without the texts, each [N]."""
        return {name: self.frame[name].to_numpy() for name in COLUMNS if name != "text"}

    @cached_property
    def authors(self) -> frozenset[int]:
        """Ids of the users who wrote a sentence."""
        return frozenset(self.column["user_id"].tolist())

    @cached_property
    def _rows_by_user(self) -> np.ndarray:
        return np.argsort(self.column["user_id"], kind="stable")

    def rows_about(self, item_id: int) -> np.ndarray:
        """Return the rows about an item."""
        return np.arange(*np.searchsorted(self.column["item_id"], [item_id, item_id + 1]))

    def rows_on_other_items(self, user_id: int, item_id: int) -> np.ndarray:
        """Return the rows by a user that are about other items."""
        users = self.column["user_id"]
        rows = self._rows_by_user[slice(*np.searchsorted(users, [user_id, user_id + 1], sorter=self._rows_by_user))]
        return rows[self.column["item_id"][rows] != item_id]

    def texts(self, rows: np.ndarray) -> list[str]:
        """Return the texts of rows."""
        return self.frame["text"][rows.tolist()].to_list()

    def sentence(self, row: int, parts: dict[str, float]) -> EvidenceSentence:
        """Return a row with the parts of its score."""
        values = self.frame.row(int(row), named=True)
        names = ("text", "user_id", "item_id", "level", "cluster", "feature")
        return EvidenceSentence(**{name: values[name] for name in names}, parts=parts)


@dataclass(frozen=True)
class EvidenceIndex:
    """Training sentences by item, and the users' latents that they are ranked by.

    Args:
        table: the sentences.
        users_UD: latent mean of each user; row 0 is the unknown user.
        levels: R, the number of rating levels.
        mean_squared_distance: of two users of the run.
        of_guests: sentences by users whom the run does not know. Only their own prompts quote them.
    """

    table: SentenceTable
    users_UD: np.ndarray
    levels: int
    mean_squared_distance: float
    of_guests: SentenceTable | None = None

    @classmethod
    def from_sentences(cls, source: pl.LazyFrame, users_UD: np.ndarray, levels: int) -> EvidenceIndex:
        """Return the index of sentences (COLUMNS), sorted by item."""
        return cls(SentenceTable(source), users_UD, levels, _mean_squared_distance(users_UD))

    @classmethod
    def fit(
        cls,
        train: pl.DataFrame,
        cluster_N: np.ndarray,
        users_UD: np.ndarray,
        levels: int,
        extractor: FeatureExtractor | None,
    ) -> EvidenceIndex:
        """Index training reviews (user_id, item_id, level, text, feature) with the cluster of each review."""
        return cls.from_sentences(sentence_table(train, cluster_N, extractor).lazy(), users_UD, levels)

    def with_users(self, latents_MD: np.ndarray, sentences: pl.DataFrame = EMPTY) -> EvidenceIndex:
        """Return an index that knows M further users; their ids continue after the last user.

        Args:
            latents_MD: their latent means.
            sentences: what they wrote (COLUMNS), sorted by item.
        """
        users_UD = np.concatenate([self.users_UD, latents_MD.astype(self.users_UD.dtype)])
        return replace(self, users_UD=users_UD, of_guests=SentenceTable(sentences.lazy()))

    @property
    def sentences(self) -> pl.DataFrame:
        """All sentences of the index (COLUMNS), without those of guests."""
        return self.table.frame

    def retrieve(self, query: Query, count: int, other_clusters: bool = False) -> list[EvidenceSentence]:
        """Return up to `count` sentences by others about the item, best first, with no author and no text twice.

        Args:
            query: the pair.
            count: largest number of sentences.
            other_clusters: whether sentences of other clusters follow where the pair's cluster has too few.
        """
        if not count or not query.item_id:
            return []
        rows, column = self.table.rows_about(query.item_id), self.table.column
        rows = rows[column["user_id"][rows] != query.user_id]
        if not other_clusters:
            rows = rows[column["cluster"][rows] == query.cluster]
        parts = self._score_parts(self.table, query, rows)
        difference_ND = self.users_UD[column["user_id"][rows]] - self.users_UD[query.user_id]
        taste = np.exp(-(difference_ND**2).sum(1) / self.mean_squared_distance)
        parts, elsewhere = {"taste": taste, **parts}, column["cluster"][rows] != query.cluster
        return _best_sentences(self.table, rows, parts, elsewhere, count, lambda sentence: sentence.user_id)

    def retrieve_history(self, query: Query, count: int) -> list[EvidenceSentence]:
        """Return up to `count` sentences by the user about other items, best first, with no item and no text twice.

        The unknown user, which stands for all users without a name, has no history.
        """
        if not count or not query.user_id:
            return []
        table = self._table_with(query.user_id)
        rows = table.rows_on_other_items(query.user_id, query.item_id)
        parts, last = self._score_parts(table, query, rows), np.zeros(len(rows), bool)
        return _best_sentences(table, rows, parts, last, count, lambda sentence: sentence.item_id)

    def reference_sentences(self, user_id: int, item_id: int, count: int) -> tuple[list[str], list[str]]:
        """Return the first `count` sentences by the user on other items, and by other users on the item.

        The unknown user, which stands for all users without a name, has written none.
        """
        on_item = self.table.rows_about(item_id)
        by_others = on_item[self.table.column["user_id"][on_item] != user_id]
        table = self._table_with(user_id)
        by_user = table.rows_on_other_items(user_id, item_id) if user_id else np.empty(0, np.int64)
        return table.texts(by_user[:count]), self.table.texts(by_others[:count])

    def sentences_about(self, item_id: int) -> pl.DataFrame:
        """Return all sentences about an item (COLUMNS)."""
        return self.sentences[self.table.rows_about(item_id)]

    def sample_sentences(self, count: int) -> list[str]:
        """Return between `count` and twice as many sentences, spread evenly over the items; all if there are fewer."""
        return self.sentences["text"].gather_every(max(1, len(self.sentences) // count)).to_list()

    def _table_with(self, user_id: int) -> SentenceTable:
        """Return the table that has the user's sentences: that of the guests, or that of training."""
        guests = self.of_guests
        return guests if guests is not None and user_id in guests.authors else self.table

    def _score_parts(self, table: SentenceTable, query: Query, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return the parts of the score that need no author for each row (see the top of the file)."""
        gap = np.abs(table.column["level"][rows] - query.level) / max(self.levels - 1, 1)
        parts = {"rating": 1 - np.clip(gap, 0, 1)}
        if query.feature:
            parts["feature"] = (table.column["feature"][rows] == query.feature).astype(float)
        return {**parts, "information": table.column["information"][rows]}

    def save(self, directory: Path) -> None:
        """Write evidence.parquet."""
        self.sentences.write_parquet(directory / FILE)

    @classmethod
    def load(cls, directory: Path, users_UD: np.ndarray, levels: int) -> EvidenceIndex:
        """Read what `save` wrote.

        The file holds review texts, so a run may be shared without it: the index is then empty.

        Raises:
            RunError: The file is damaged or was written by another version.
        """
        path = directory / FILE
        if not path.is_file():
            return cls.from_sentences(EMPTY.lazy(), users_UD, levels)
        try:
            readable = pl.scan_parquet(path, glob=False).collect_schema() == EMPTY.schema
        except (pl.exceptions.PolarsError, OSError):
            readable = False
        if not readable:
            raise RunError(f"{path} is damaged or of another version; copy it again, or delete it to have no evidence")
        return cls.from_sentences(pl.scan_parquet(path, glob=False), users_UD, levels)


def _mean_squared_distance(users_UD: np.ndarray) -> float:
    """Return the mean squared distance of two users: twice the variance, summed over dimensions."""
    return max(2 * float(users_UD[1:].var(0).sum()), 1e-12) if len(users_UD) > 1 else 1.0


def _best_sentences(
    table: SentenceTable,
    rows: np.ndarray,
    parts: dict[str, np.ndarray],
    last: np.ndarray,
    count: int,
    once: Callable[[EvidenceSentence], int],
) -> list[EvidenceSentence]:
    """Return the sentences with the best mean of parts, those marked `last` after the others.

    No text occurs twice, nor an author or item that `once` returns. The unknown id 0 stands for many and may repeat.
    """
    order = np.lexsort((rows, -np.mean(list(parts.values()), axis=0), last))  # ties in the order of the table
    best: list[EvidenceSentence] = []
    used: set[int | str] = set()
    for place in order:
        sentence = table.sentence(rows[place], {name: float(part[place]) for name, part in parts.items()})
        seen: set[int | str] = {sentence.text, once(sentence)}
        seen.discard(0)
        if used.isdisjoint(seen):
            best.append(sentence)
            used |= seen
        if len(best) == count:
            break
    return best


@dataclass(frozen=True)
class PairEvidence:
    """Sentences for N pairs, looked up by row.

    Args:
        index: where sentences are retrieved.
        user_id: [N].
        item_id: [N].
        cluster: [N].
        level: predicted rating level [N]. It is the predicted level even where the prompt states the true one, so that
            evidence is chosen without ground truth.
        count: sentences by others per pair.
        history: sentences by the user per pair.
        other_clusters: whether sentences by others of other clusters follow those of the pair's.
    """

    index: EvidenceIndex
    user_id: np.ndarray
    item_id: np.ndarray
    cluster: np.ndarray
    level: np.ndarray
    count: int
    history: int = 0
    other_clusters: bool = False

    def retrieve(self, row: int, feature: str | None) -> list[EvidenceSentence]:
        """Return the best sentences by others for a pair, given the feature that its text speaks of, if any."""
        return self.index.retrieve(self._query(row, feature), self.count, self.other_clusters)

    def sentences(self, row: int, feature: str | None) -> tuple[str, ...]:
        """Return the texts of `retrieve`, which a prompt quotes."""
        return tuple(sentence.text for sentence in self.retrieve(row, feature))

    def by_user(self, row: int, feature: str | None) -> list[EvidenceSentence]:
        """Return the best sentences by the pair's user about other items, which a prompt in words quotes."""
        return self.index.retrieve_history(self._query(row, feature), self.history)

    def _query(self, row: int, feature: str | None) -> Query:
        ids = int(self.user_id[row]), int(self.item_id[row])
        return Query(*ids, int(self.cluster[row]), float(self.level[row]), feature)


def sentence_table(train: pl.DataFrame, cluster_N: np.ndarray, extractor: FeatureExtractor | None) -> pl.DataFrame:
    """Return the sentences of reviews, sorted by item (COLUMNS).

    Args:
        train: reviews with user_id, item_id, level, text, feature.
        cluster_N: cluster of each review.
        extractor: finds the feature of a sentence; None if the data source named one feature per review.
    """
    reviews = train.select("item_id", "user_id", "level", "feature", "text").with_columns(
        pl.Series("cluster", cluster_N, dtype=pl.Int32)
    )
    sentences = (
        reviews.with_columns(text=split_sentences(reviews["text"]))
        .explode("text")
        .with_columns(pl.col("text").str.strip_chars())
        .filter(pl.col("text").is_not_null() & (pl.col("item_id") > 0))
    )
    sentences = sentences.filter(count_words(sentences["text"]) >= MIN_WORDS).sort("item_id", maintain_order=True)
    if sentences.is_empty():
        return EMPTY
    if extractor is not None:
        feature = extractor.extract(sentences["text"])
    else:  # the review's feature belongs to the sentences that contain the word
        mentions = pl.col("text").str.to_lowercase().str.contains(pl.col("feature").str.to_lowercase(), literal=True)
        feature = sentences.select(pl.when(mentions).then("feature").alias("feature"))["feature"]
    sentences = sentences.with_columns(feature=feature, information=information(sentences["text"]))
    return sentences.select(pl.col(name).cast(dtype) for name, dtype in EMPTY.schema.items())


def information(texts: pl.Series) -> pl.Series:
    """Return how informative each sentence is, float [N] in 0..1.

    It is x / (x + median) of the summed inverse document frequency x: rare words count, and the median sentence gets
    0.5.
    """
    tokens = Tokens.from_texts(texts)
    words = pl.DataFrame({"row": tokens.row, "word": tokens.code}).unique()
    idf = words.group_by("word").agg((len(texts) / pl.len()).log().alias("idf"))
    # Rounded, because the order of a parallel sum must not decide between two sentences.
    sums = words.join(idf, on="word").group_by("row").agg(pl.col("idf").sum().round(6))
    rows = pl.DataFrame({"row": pl.int_range(len(texts), eager=True)})
    total = rows.join(sums, on="row", how="left", maintain_order="left")["idf"].fill_null(0.0)
    median = float(total.median() or 0.0)  # type: ignore[arg-type]
    return (total / (total + max(median, 1e-12))).cast(pl.Float32)
