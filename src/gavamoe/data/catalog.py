"""The catalog of a run: its users, items, rating scale, features and training history.

A run keeps its catalog, so that ids map to names and raw reviews are encoded as they were for training.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from gavamoe.data.readers.canonical import ReadRules
from gavamoe.data.readers.prepared import PreparedColumns
from gavamoe.data.scale import RatingScale
from gavamoe.errors import DataError
from gavamoe.features.cleaning import compose
from gavamoe.features.extractor import FeatureExtractor
from gavamoe.features.sentences import annotate_reviews
from gavamoe.files import write_json

UNKNOWN = "<unknown>"
FILES = ("users.parquet", "items.parquet", "history.parquet", "features.json", "catalog.json")


def encode_names(names: pl.Series, known: pl.Series) -> pl.Series:
    """Map names to ids: the position of each name among the known names, from 1, or 0 if it is unknown; Int32 [n]."""
    table = pl.DataFrame({"name": known, "id": pl.int_range(1, len(known) + 1, dtype=pl.Int32, eager=True)})
    return names.to_frame("name").join(table, on="name", how="left", maintain_order="left")["id"].fill_null(0)


@dataclass(frozen=True)
class Catalog:
    """Users, items, rating scale, features and training history of a prepared dataset.

    Id 0 is "unknown". Ids 1..N belong to the users and items with at least one training record.

    Args:
        users: one row per known user, sorted by `user_id`: user_id, user, n_train, mean_rating.
        items: one row per known item, sorted by `item_id`: item_id, item, n_train, mean_rating, title, categories,
            description.
        history: the training interactions: user_id, item_id, level.
        scale: the rating scale of the source.
        features: the sorted feature words; empty if the reviews were prepared without features.
        extractor: finds the feature of a text; None if there are no features.
        columns: source column of each review column in the files that the dataset was prepared from; empty if unknown.
        rules: what the user said about the values of these files.
    """

    users: pl.DataFrame
    items: pl.DataFrame
    history: pl.DataFrame
    scale: RatingScale
    features: list[str] = field(default_factory=list)
    extractor: FeatureExtractor | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    rules: ReadRules = field(default_factory=ReadRules)

    @property
    def prepared(self) -> PreparedColumns:
        """How the files of the dataset were read."""
        return PreparedColumns(self.columns, self.rules)

    @property
    def n_users(self) -> int:
        """Number of known users, whose ids are 1..n_users."""
        return self.users.height

    @property
    def n_items(self) -> int:
        """Number of known items, whose ids are 1..n_items."""
        return self.items.height

    @cached_property
    def user_names(self) -> list[str]:
        """User names by id, length n_users + 1; the name of id 0 is "<unknown>"."""
        return [UNKNOWN, *self.users["user"].to_list()]

    @cached_property
    def item_names(self) -> list[str]:
        """Item names by id, length n_items + 1; the name of id 0 is "<unknown>"."""
        return [UNKNOWN, *self.items["item"].to_list()]

    @cached_property
    def user_counts(self) -> np.ndarray:
        """Number of training records by user id, int64 [n_users + 1]; 0 for id 0."""
        return np.concatenate([[0], self.users["n_train"].to_numpy()]).astype(np.int64)

    @cached_property
    def item_counts(self) -> np.ndarray:
        """Number of training records by item id, int64 [n_items + 1]; 0 for id 0."""
        return np.concatenate([[0], self.items["n_train"].to_numpy()]).astype(np.int64)

    def training_reviews(self, reviews: pl.DataFrame) -> list[int]:
        """Return how many training reviews the user of each review has, given the reviews' `user_id` column."""
        counts: list[int] = self.user_counts[reviews["user_id"].to_numpy()].tolist()
        return counts

    def same_data_as(self, other: Catalog) -> bool:
        """Return whether both catalogs have the same ids and the same training interactions."""
        return all(getattr(self, part).equals(getattr(other, part)) for part in ("users", "items", "history"))

    def user_id(self, name: object) -> int:
        """Return the id of the user with this name, 0 if unknown; names are compared as strings."""
        return self._user_ids.get(unicodedata.normalize("NFC", str(name)), 0)

    def item_id(self, name: object) -> int:
        """Return the id of the item with this name, 0 if unknown; names are compared as strings."""
        return self._item_ids.get(unicodedata.normalize("NFC", str(name)), 0)

    def seen(self, user_id: int) -> np.ndarray:
        """Return the ids of the items in the user's training history.

        Returns:
            int64 [n], ascending; empty for id 0.

        Raises:
            DataError: there is no user with this id.
        """
        if user_id == 0:  # id 0 stands for all unknown users, the anonymous ones included: it has no history
            return np.zeros(0, dtype=np.int64)
        items, starts = self._history_by_user
        if not 0 <= user_id <= self.n_users:
            raise DataError(f"user id {user_id} is not within 0..{self.n_users}")
        return items[starts[user_id] : starts[user_id + 1]]

    def encode_pairs(self, pairs: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
        """Return user_id and item_id of pairs with the columns user and item, Int32 [n] each; 0 if unknown."""
        return encode_names(pairs["user"], self.users["user"]), encode_names(pairs["item"], self.items["item"])

    def encode(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Add user_id, item_id and level to raw reviews, and feature if it is missing and the catalog has features.

        If a feature is added, texts are shortened as `prepare` shortens them: a long review becomes its best sentence.

        Args:
            frame: raw reviews with user, item, rating and optionally text, feature; other columns are kept.

        Returns:
            The same rows in the same order; user_id and item_id Int32 (0 if unknown), level Int8 in 1..R.

        Raises:
            DataError: a required column is missing, or a rating is outside the scale (names its row).
        """
        missing = [name for name in ("user", "item", "rating") if name not in frame.columns]
        if missing:
            raise DataError(f"reviews lack the column {missing[0]}; found {', '.join(frame.columns)}")
        named = frame.with_columns(compose(frame[name].cast(pl.String)) for name in ("user", "item"))
        user_id, item_id = self.encode_pairs(named)
        encoded = named.with_columns(
            user_id=user_id,
            item_id=item_id,
            level=self.scale.to_level(named["rating"]),
        )
        if self.extractor is None or "feature" in frame.columns or "text" not in frame.columns:
            return encoded
        return encoded.with_columns(
            annotate_reviews(encoded["text"].cast(pl.String).fill_null(""), self.extractor).select("text", "feature")
        )

    def save(self, directory: Path | str) -> None:
        """Write the catalog's files into `directory`, which is created if needed."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        self.users.write_parquet(directory / "users.parquet")
        self.items.write_parquet(directory / "items.parquet")
        self.history.write_parquet(directory / "history.parquet")
        write_json(directory / "features.json", self.features)
        extractor = self.extractor.to_json() if self.extractor else None
        about = {"scale": self.scale.to_json(), "extractor": extractor, "columns": dict(self.columns)}
        rules = self.rules.to_json()
        write_json(directory / "catalog.json", {**about, "rules": rules} if rules else about)

    @classmethod
    def load(cls, directory: Path | str) -> Catalog:
        """Read the files that `save` wrote.

        Raises:
            DataError: a file is missing or unreadable; names it.
        """
        directory = Path(directory)
        for name in FILES:
            if not (directory / name).is_file():
                raise DataError(f"{directory} is not a catalog: {name} is missing")
        try:
            about = json.loads((directory / "catalog.json").read_text(encoding="utf-8"))
            return cls(
                users=pl.read_parquet(directory / "users.parquet", glob=False),
                items=pl.read_parquet(directory / "items.parquet", glob=False),
                history=pl.read_parquet(directory / "history.parquet", glob=False),
                scale=RatingScale.from_json(about["scale"]),
                features=json.loads((directory / "features.json").read_text(encoding="utf-8")),
                extractor=FeatureExtractor.from_json(about["extractor"]) if about["extractor"] else None,
                columns=about.get("columns", {}),  # absent from runs of earlier versions
                rules=ReadRules.from_json(about.get("rules", {})),
            )
        except (pl.exceptions.PolarsError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise DataError(f"{directory} is not a catalog that can be read: {error}") from error

    @cached_property
    def _user_ids(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.users["user"].to_list(), start=1)}

    @cached_property
    def _item_ids(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.items["item"].to_list(), start=1)}

    @cached_property
    def _history_by_user(self) -> tuple[np.ndarray, np.ndarray]:
        """Item ids sorted by user, [n_train], and the position where each user's items start, [n_users + 2]."""
        pairs = self.history.select("user_id", "item_id").sort("user_id", "item_id")
        counts = np.bincount(pairs["user_id"].to_numpy(), minlength=self.n_users + 1)
        return pairs["item_id"].to_numpy().astype(np.int64), np.concatenate([[0], np.cumsum(counts)])
