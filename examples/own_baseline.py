"""A baseline of your own: the item's most frequent sentence among its reviews rated nearest to the predicted rating.

gavamoe compare DATA --out table --models gavamoe,item-mode,examples/own_baseline.py:PopularSentence
"""

from collections import Counter, defaultdict

import polars as pl

from gavamoe.baselines.base import Predictions, RefittedSystem
from gavamoe.baselines.data import TextData
from gavamoe.baselines.simple import Biases
from gavamoe.conditions import Condition


class PopularSentence(RefittedSystem):
    """Ratings from user and item biases; an unknown item (id 0) gets a sentence from all reviews."""

    def train(self, data: TextData, seed: int) -> None:
        """Count the sentences of each item by the level of their review."""
        self.biases, self.scale = Biases(), data.scale
        self.biases.train(data, seed)
        self.sentences: dict[int, dict[int, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
        for item, level, text in data.train_texts.select("item_id", "level", "text").iter_rows():
            for key in {item, 0}:
                self.sentences[key][level][text] += 1

    def predict(self, pairs: pl.DataFrame, condition: Condition) -> Predictions:
        """Predict a rating, then look up the sentence."""
        ratings, texts = self.biases.predict(pairs, condition).ratings, []
        for item, rating in zip(pairs["item_id"], ratings, strict=True):
            by_level = self.sentences[item if item in self.sentences else 0]
            nearest = min(by_level, key=lambda level: abs(self.scale.values[level - 1] - rating))
            texts.append(by_level[nearest].most_common(1)[0][0])
        return Predictions(texts, ratings)
