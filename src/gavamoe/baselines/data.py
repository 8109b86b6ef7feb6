"""The data of every text system: the same reviews, the same tokens, and the same facts withheld in training.

    TextData        training and validation reviews, the catalog, and the settings that all systems share
    Vocabulary      those reviews encoded with one tokenizer, and the batches of an epoch
    EncodedReviews  reviews as token ids
    TextBatch       some of them as tensors

The tokenizer is trained as GaVaMoE's is, on the same texts. All systems then write the same subwords, and their losses
per token can be compared.
Shape suffixes: N rows, B batch, T text tokens with the end token, F feature tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from gavamoe.config import ExplainerConfig
from gavamoe.data.catalog import Catalog
from gavamoe.data.dataset import HAS_TEXT, InteractionArrays, ReviewDataset
from gavamoe.data.scale import RatingScale
from gavamoe.data.tables import draw_rows
from gavamoe.features.predictor import FeaturePredictor
from gavamoe.language.base_model import load_tokenizer
from gavamoe.language.encoding import IGNORED, encode_plain, encode_texts
from gavamoe.language.prompt import EXPLAIN
from gavamoe.language.tokenizer import train_tokenizer


@dataclass(frozen=True, eq=False)
class TextData:
    """Reviews to train on, and the settings that all systems share.

    Args:
        train: training reviews with user_id, item_id, level, text and feature; a text may be empty.
        valid: validation reviews with the same columns.
        catalog: users, items, rating scale and features that the ids refer to.
        config: sizes, dropout rates and training budget, the same for every system.
        base_model: hub id or directory of the language model that some systems start from; None: from scratch.
        path: the prepared dataset that the reviews were read from; None when they come from elsewhere.
        seed: of the draw of `config.max_reviews` texts, if that limits the texts to learn from.
    """

    train: pl.DataFrame
    valid: pl.DataFrame
    catalog: Catalog
    config: ExplainerConfig
    base_model: str | None = None
    path: Path | None = None
    seed: int = 0

    @classmethod
    def from_dataset(cls, dataset: ReviewDataset, config: ExplainerConfig, base_model: str | None = None) -> TextData:
        """Read the training and validation reviews of a prepared dataset."""
        train, valid = (dataset.interactions(split) for split in ("train", "valid"))
        return cls(train, valid, dataset.catalog, config, base_model, dataset.path)

    @property
    def users(self) -> int:
        """Number of known users; their ids are 1..users."""
        return self.catalog.n_users

    @property
    def items(self) -> int:
        """Number of known items; their ids are 1..items."""
        return self.catalog.n_items

    @property
    def scale(self) -> RatingScale:
        """The rating scale of the source."""
        return self.catalog.scale

    @property
    def levels(self) -> int:
        """Number of rating levels R; levels are 1..R."""
        return self.catalog.scale.levels

    @cached_property
    def train_texts(self) -> pl.DataFrame:
        """Training reviews that have a text."""
        return _with_text(self.train)

    @cached_property
    def valid_texts(self) -> pl.DataFrame:
        """Validation reviews that have a text."""
        return _with_text(self.valid)

    @cached_property
    def mean_level(self) -> float:
        """Mean rating level of the training reviews that have a text."""
        return float(np.mean(self.train_texts["level"].to_numpy()))

    def interactions(self) -> tuple[InteractionArrays, InteractionArrays]:
        """Return ids and levels of all training and all validation reviews, with or without a text."""
        return _arrays(self.train), _arrays(self.valid)

    @cached_property
    def corpus_vocabulary(self) -> Vocabulary:
        """The reviews encoded with a tokenizer that is trained on their texts."""
        tokenizer = train_tokenizer(self.train_texts["text"].to_list(), self.config.vocabulary)
        return Vocabulary(tokenizer, [], data=self)

    @cached_property
    def base_vocabulary(self) -> Vocabulary:
        """The reviews encoded with the base model's tokenizer; without a base model, `corpus_vocabulary`."""
        if self.base_model is None:
            return self.corpus_vocabulary
        return Vocabulary(*load_tokenizer(self.base_model), data=self)

    @cached_property
    def feature_predictor(self) -> FeaturePredictor:
        """Predicts the feature of a pair before its text is written, the same for all systems."""
        return FeaturePredictor.fit(self.train_texts)


@dataclass(frozen=True)
class TextBatch:
    """B pairs as tensors.

    Args:
        user_B, item_B: ids, 0 where unknown.
        level_B: the rating that the input states, 1..R; 0 where it is withheld.
        feature_BF: tokens of the feature that the input states, padded.
        rating_B: the true level, the target of rating prediction.
        text_BT: tokens of the explanation with the end token, then IGNORED.
    """

    user_B: Tensor
    item_B: Tensor
    level_B: Tensor
    feature_BF: Tensor
    rating_B: Tensor
    text_BT: Tensor

    def __len__(self) -> int:
        return len(self.user_B)

    def to(self, device: torch.device | str) -> TextBatch:
        """Return a copy on `device`."""
        return TextBatch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class EncodedReviews:
    """N reviews of a split: ids and levels int64 [N], features and texts as token ids."""

    user_N: np.ndarray
    item_N: np.ndarray
    level_N: np.ndarray
    features: Sequence[list[int]]
    texts: Sequence[list[int]]

    def __len__(self) -> int:
        return len(self.user_N)

    @property
    def tokens(self) -> int:
        """Number of text tokens that a loss scores."""
        return sum(map(len, self.texts))


class Vocabulary:
    """A tokenizer, and the reviews of a `TextData` encoded with it.

    Args:
        tokenizer: its pad and end tokens and the start-of-explanation token are set.
        new_ids: token ids that the base model has no trained embedding for.
        data: the reviews.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, new_ids: Sequence[int], data: TextData):
        self.tokenizer, self.new_ids, self.data = tokenizer, new_ids, data
        self.size = len(tokenizer)
        self.pad, self.end = int(tokenizer.pad_token_id), int(tokenizer.eos_token_id)
        self.start = int(tokenizer.convert_tokens_to_ids(EXPLAIN))

    @cached_property
    def train(self) -> EncodedReviews:
        """Training reviews with text that the texts are learned from."""
        limit = self.data.config.max_reviews
        return self._encode_reviews(draw_rows(self.data.train_texts, limit, self.data.seed))

    @cached_property
    def valid(self) -> EncodedReviews:
        """Validation reviews with text."""
        limit = self.data.config.max_valid_reviews
        return self._encode_reviews(draw_rows(self.data.valid_texts, limit, self.data.seed))

    @cached_property
    def feature_width(self) -> int:
        """Number of tokens of the longest feature."""
        longest = max((self.encode_words(feature) for feature in self.data.catalog.features), key=len, default=[0])
        return max(len(longest), 1)

    def encode_words(self, text: str | None) -> list[int]:
        """Return the token ids of words in the middle of a text; none for None."""
        return encode_plain(self.tokenizer, [" " + text])[0] if text else []

    def encode_pairs(
        self, user_N: np.ndarray, item_N: np.ndarray, level_N: np.ndarray, features: Sequence[str | None]
    ) -> EncodedReviews:
        """Encode pairs whose texts are still to be written.

        Args:
            user_N, item_N: ids, 0 where unknown.
            level_N: the rating that the input states, 0 where it is withheld.
            features: the feature that the input states, None where it is withheld.
        """
        tokens = {feature: self.encode_words(feature) for feature in set(features)}
        return EncodedReviews(user_N, item_N, level_N, [tokens[feature] for feature in features], [[]] * len(user_N))

    def batch(self, reviews: EncodedReviews, chosen: np.ndarray, hidden_N4: np.ndarray | None = None) -> TextBatch:
        """Return the chosen rows as tensors.

        Args:
            reviews: N rows.
            chosen: row numbers, int [B].
            hidden_N4: for each of the N rows, whether user, item, level and feature are withheld.
        """
        hidden = np.zeros((len(chosen), 4), dtype=bool) if hidden_N4 is None else hidden_N4[chosen]
        features = [[] if hide else reviews.features[row] for row, hide in zip(chosen, hidden[:, 3], strict=True)]
        return TextBatch(
            torch.from_numpy(np.where(hidden[:, 0], 0, reviews.user_N[chosen])),
            torch.from_numpy(np.where(hidden[:, 1], 0, reviews.item_N[chosen])),
            torch.from_numpy(np.where(hidden[:, 2], 0, reviews.level_N[chosen])),
            pad_rows(features, self.pad, self.feature_width),
            torch.from_numpy(reviews.level_N[chosen]).float(),
            pad_rows([reviews.texts[row] for row in chosen], IGNORED),
        )

    def training_batches(self, seed: int, epoch: int) -> Iterator[TextBatch]:
        """Yield the batches of an epoch; what is withheld and their order depend on seed and epoch alone."""
        config, reviews = self.data.config, self.train
        rng = np.random.default_rng((seed, epoch))
        shares = (config.id_dropout, config.id_dropout, config.rating_dropout, config.feature_dropout)
        hidden_N4 = rng.random((len(reviews), 4)) < np.array(shares)
        order, size = rng.permutation(len(reviews)), config.batch_size
        for start in range(0, len(order), size):
            yield self.batch(reviews, order[start : start + size], hidden_N4)

    def _encode_reviews(self, reviews: pl.DataFrame) -> EncodedReviews:
        ids = _arrays(reviews)
        texts = encode_texts(self.tokenizer, reviews["text"].to_list(), self.data.config.max_tokens)
        pairs = self.encode_pairs(ids.user_id, ids.item_id, ids.level, reviews["feature"].to_list())
        return EncodedReviews(ids.user_id, ids.item_id, ids.level, pairs.features, texts)


def pad_rows(rows: Sequence[Sequence[int]], value: int, width: int = 0, left: bool = False) -> Tensor:
    """Return lists of ids as int64 [rows, width], padded with `value` and cut at `width`.

    Args:
        rows: the lists.
        value: what fills the rest of a row.
        width: 0 for the length of the longest list.
        left: pad on the left.
    """
    width = width or max((len(row) for row in rows), default=0)
    padded = np.full((len(rows), width), value, dtype=np.int64)
    for number, row in enumerate(rows):
        ids = list(row)[:width]
        padded[number, width - len(ids) if left else 0 : width if left else len(ids)] = ids
    return torch.from_numpy(padded)


def _arrays(reviews: pl.DataFrame) -> InteractionArrays:
    return InteractionArrays(*(reviews[name].to_numpy().astype(np.int64) for name in ("user_id", "item_id", "level")))


def _with_text(reviews: pl.DataFrame) -> pl.DataFrame:
    return reviews.filter(HAS_TEXT)
