"""What every text system learns from: the same reviews, cut into the same tokens, with the same facts hidden.

The tokenizer is the one that GaVaMoE trains on the same texts, so that all write with the same subwords, and losses a
token can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import polars as pl
import torch
from transformers import PreTrainedTokenizerBase

from gavamoe.baselines.batches import Batch, EncodedReviews, padded
from gavamoe.baselines.lightgcn import LightGCNRatings
from gavamoe.config import ExplainerConfig
from gavamoe.data.dataset import ReviewDataset
from gavamoe.errors import DataError
from gavamoe.features.predictor import FeaturePredictor
from gavamoe.language.base_model import load_tokenizer
from gavamoe.language.encoding import IGNORED, encode_texts
from gavamoe.language.prompt import EXPLAIN
from gavamoe.language.tokenizer import train_tokenizer

BUCKET = 50  # batches that are sorted by length together: little padding, and still a random order


class TextData:
    """A prepared dataset as the text systems read it.

    Args:
        dataset: with train and valid reviews that have texts.
        config: sizes, dropouts and budget, the same for every system.
        base_model: hub id or directory of the LM that the LM-based systems start from; None: one learned here.
    """

    def __init__(self, dataset: ReviewDataset, config: ExplainerConfig, base_model: str | None = None):
        self.dataset, self.config, self.base_model = dataset, config, base_model
        catalog = dataset.catalog
        self.users, self.items, self.levels = catalog.n_users, catalog.n_items, catalog.scale.levels
        self.scale = catalog.scale
        self.train_reviews, self.valid_reviews = (_with_text(dataset, split) for split in ("train", "valid"))
        self.mean_level = float(np.mean(self.train_reviews["level"].to_numpy()))

    @cached_property
    def own(self) -> Vocabulary:
        """In the subwords of the corpus."""
        tokenizer = train_tokenizer(self.train_reviews["text"].to_list(), self.config.vocabulary)
        return Vocabulary(tokenizer, [], data=self)

    @cached_property
    def of_base(self) -> Vocabulary:
        """In the subwords of the base model; without one, those of the corpus."""
        if self.base_model is None:
            return self.own
        return Vocabulary(*load_tokenizer(self.base_model), data=self)

    def predicted_level(self, user_N: np.ndarray, item_N: np.ndarray) -> np.ndarray:
        """Predicted level of pairs, float [N], for systems that predict none: LightGCN's, of seed 0."""
        return np.clip(self._ratings.predict(user_N, item_N), 1, self.levels)

    @cached_property
    def _ratings(self) -> LightGCNRatings:
        train, valid = self.dataset.arrays("train"), self.dataset.arrays("valid")
        return LightGCNRatings(self.users, self.items).fit(train, valid)

    @cached_property
    def feature_predictor(self) -> FeaturePredictor:
        """The feature of a pair before its text is written, the same for all systems."""
        return FeaturePredictor.fit(self.train_reviews)


class Vocabulary:
    """The corpus in one tokenizer's ids; new_ids are those that a base model has not met."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, new_ids: Sequence[int], data: TextData):
        self.tokenizer, self.new_ids, self.data = tokenizer, new_ids, data
        self.size = len(tokenizer)
        self.pad, self.end = int(tokenizer.pad_token_id), int(tokenizer.eos_token_id)
        self.start = int(tokenizer.convert_tokens_to_ids(EXPLAIN))

    @cached_property
    def train(self) -> EncodedReviews:
        """Training reviews with text."""
        return self._rows(self.data.train_reviews)

    @cached_property
    def valid(self) -> EncodedReviews:
        """Validation reviews with text."""
        return self._rows(self.data.valid_reviews)

    @cached_property
    def feature_width(self) -> int:
        """Tokens of the longest feature."""
        longest = max((self.words(feature) for feature in self.data.dataset.catalog.features), key=len, default=[0])
        return max(len(longest), 1)

    def words(self, text: str | None) -> list[int]:
        """Token ids of some words as they stand inside a text."""
        return list(self.tokenizer(" " + text, add_special_tokens=False)["input_ids"]) if text else []

    def pairs(
        self, user_N: np.ndarray, item_N: np.ndarray, level_N: np.ndarray, features: Sequence[str | None]
    ) -> EncodedReviews:
        """Pairs to write about, whose texts are not known."""
        known = {feature: self.words(feature) for feature in set(features)}
        return EncodedReviews(user_N, item_N, level_N, [known[feature] for feature in features], [[]] * len(user_N))

    def batch(self, rows: EncodedReviews, chosen: np.ndarray, hidden_N4: np.ndarray | None = None) -> Batch:
        """The chosen rows as tensors; hidden_N4 says of each which of user, item, level, feature training hides."""
        hidden = np.zeros((len(chosen), 4), dtype=bool) if hidden_N4 is None else hidden_N4[chosen]
        features = [[] if hide else rows.features[row] for row, hide in zip(chosen, hidden[:, 3], strict=True)]
        return Batch(
            torch.from_numpy(np.where(hidden[:, 0], 0, rows.user_N[chosen])),
            torch.from_numpy(np.where(hidden[:, 1], 0, rows.item_N[chosen])),
            torch.from_numpy(np.where(hidden[:, 2], 0, rows.level_N[chosen])),
            padded(features, self.pad, self.feature_width),
            torch.from_numpy(rows.level_N[chosen]).float(),
            padded([rows.texts[row] for row in chosen], IGNORED),
        )

    def training_batches(self, seed: int, epoch: int) -> Iterator[Batch]:
        """An epoch of training: what it hides and the order of its batches follow from seed and epoch alone."""
        config, rows = self.data.config, self.train
        rng = np.random.default_rng((seed, epoch))
        shares = (config.id_dropout, config.id_dropout, config.rating_dropout, config.feature_dropout)
        hidden_N4 = rng.random((len(rows), 4)) < np.array(shares)
        order, size = rng.permutation(len(rows)), config.batch_size
        lengths = np.array([len(text) for text in rows.texts])
        batches = []
        for start in range(0, len(order), size * BUCKET):
            bucket = order[start : start + size * BUCKET]
            bucket = bucket[np.argsort(lengths[bucket], kind="stable")]
            batches += [bucket[begin : begin + size] for begin in range(0, len(bucket), size)]
        for place in rng.permutation(len(batches)):
            yield self.batch(rows, batches[place], hidden_N4)

    def _rows(self, reviews: pl.DataFrame) -> EncodedReviews:
        user, item, level = (reviews[name].to_numpy().astype(np.int64) for name in ("user_id", "item_id", "level"))
        texts = encode_texts(self.tokenizer, reviews["text"].to_list(), self.data.config.max_tokens)
        pairs = self.pairs(user, item, level, reviews["feature"].to_list())
        return EncodedReviews(user, item, level, pairs.features, texts)


def _with_text(dataset: ReviewDataset, split: str) -> pl.DataFrame:
    frame = dataset.interactions(split).filter(pl.col("text").fill_null("").str.strip_chars() != "")
    if frame.is_empty():
        raise DataError(f"{dataset.path} has no {split} reviews with text, and the systems learn from texts")
    return frame
