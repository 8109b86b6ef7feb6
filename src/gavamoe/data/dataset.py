"""A prepared dataset: the directory that `gavamoe prepare` writes, read lazily.

card.json              format version, sources, counts, splits, rating scale, feature extractor
interactions.parquet   one review a row: user_id, item_id, level, text, feature, split, ...
users.parquet, items.parquet, features.json
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.lib.format import open_memmap

from gavamoe.data.catalog import Catalog
from gavamoe.data.readers.canonical import ReadRules
from gavamoe.data.scale import RatingScale
from gavamoe.errors import DataError, InputError
from gavamoe.features.extractor import FeatureExtractor
from gavamoe.files import sha256_of_file, staged_directory
from gavamoe.seal import check_seal, is_sealed

FORMAT_VERSION = 1
SPLITS = ("train", "valid", "test")
COLUMNS = {"user_id": np.int32, "item_id": np.int32, "level": np.uint8}
FILES = ("card.json", "interactions.parquet", "users.parquet", "items.parquet", "features.json")
# Whether a review has a text: the text is neither null nor white space.
HAS_TEXT = pl.col("text").fill_null("").str.strip_chars() != ""


def id_arrays(frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns user_id and item_id of interactions as int64 arrays, [n] each."""
    return frame["user_id"].to_numpy().astype(np.int64), frame["item_id"].to_numpy().astype(np.int64)


@dataclass(frozen=True)
class InteractionArrays:
    """Interactions as integer arrays [n], in memory or memory-mapped; id 0 is an unknown user or item.

    `units` is what stage 1 reads of the texts, [n, T], if it reads them (`preference.text_target`).
    """

    user_id: np.ndarray
    item_id: np.ndarray
    level: np.ndarray
    units: np.ndarray | None = None

    def rows(self, index: np.ndarray) -> InteractionArrays:
        """Return some of the interactions, by place or by a mask."""
        units = None if self.units is None else self.units[index]
        return InteractionArrays(self.user_id[index], self.item_id[index], self.level[index], units)

    def sample(self, at_most: int | None, seed: int) -> InteractionArrays:
        """Return a random sample of the interactions in their order; all of them for None."""
        if at_most is None or len(self) <= at_most:
            return self
        return self.rows(np.sort(np.random.default_rng(seed).choice(len(self), at_most, replace=False)))

    def __len__(self) -> int:
        return len(self.level)


class ReviewDataset:
    """Reviews with ids, rating levels and a split.

    Loading reads only the card. `interactions` and `arrays` read the columns and rows that they return.

    Args:
        path: the dataset's directory.
        card: the content of its card.json.
    """

    def __init__(self, path: Path, card: dict[str, Any]) -> None:
        self.path = path
        self.card = card
        self.scale = RatingScale.from_json(card["scale"])

    @classmethod
    def load(cls, path: Path | str) -> ReviewDataset:
        """Open a prepared dataset.

        Raises:
            DataError: the directory or one of its files is missing or damaged, or its format version is another one.
        """
        path = Path(path)
        if not path.is_dir():
            raise DataError(
                f"{path} is not a directory: expected a dataset made by `gavamoe prepare SOURCE --out {path}`"
            )
        for name in FILES:
            if not (path / name).is_file():
                raise DataError(f"{path} lacks {name}: make the dataset with `gavamoe prepare SOURCE --out {path}`")
        try:
            card = json.loads((path / "card.json").read_text(encoding="utf-8"))
            version = card["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path / 'card.json'} cannot be read ({error}): run `gavamoe prepare` again") from error
        if version != FORMAT_VERSION:
            raise DataError(
                f"{path} has format {version}, this gavamoe reads {FORMAT_VERSION}: run `gavamoe prepare` again"
            )
        if is_sealed(path):
            check_seal(path, (), error=DataError)
        try:
            return cls(path, card)
        except InputError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{path / 'card.json'} cannot be read ({error!r}): run `gavamoe prepare` again") from error

    @classmethod
    def find(cls, path: Path, catalog: Catalog) -> ReviewDataset | None:
        """Return the dataset at `path` if it has the users, items and training reviews of a catalog, else None.

        Raises:
            DataError: there is a dataset, and it is damaged.
        """
        if not all((path / name).is_file() for name in FILES):
            return None
        dataset = cls.load(path)
        return dataset if catalog.same_data_as(dataset.catalog) else None

    @cached_property
    def catalog(self) -> Catalog:
        """The users, items, scale, features and training history."""
        extractor = self.card["features"]["extractor"]
        return Catalog(
            users=pl.read_parquet(self.path / "users.parquet", glob=False),
            items=pl.read_parquet(self.path / "items.parquet", glob=False),
            history=self.interactions("train", ["user_id", "item_id", "level"]),
            scale=self.scale,
            features=json.loads((self.path / "features.json").read_text(encoding="utf-8")),
            extractor=FeatureExtractor.from_json(extractor) if extractor else None,
            columns=next((source["columns"] for source in self.card.get("sources", ())), {}),
            rules=ReadRules.from_json(self.card.get("reading", {}).get("rules", {})),
        )

    @property
    def splits(self) -> dict[str, int]:
        """Number of interactions in train, valid and test."""
        return dict(self.card["splits"]["sizes"])

    @property
    def digest(self) -> str:
        """SHA-256 of the interactions; it changes if the dataset is prepared again with other content."""
        return sha256_of_file(self.path / "interactions.parquet")

    def has_texts(self, split: str | None = None) -> bool:
        """Return whether any review of a split has a text; None is all splits."""
        return not self._with_text(split).head(1).collect().is_empty()

    def count_texts(self, split: str) -> int:
        """Return how many reviews of a split have a text."""
        return int(self._with_text(split).select(pl.len()).collect().item())

    def _with_text(self, split: str | None) -> pl.LazyFrame:
        reviews = self.scan() if split is None else self.scan().filter(pl.col("split") == split)
        return reviews.filter(HAS_TEXT)

    def __len__(self) -> int:
        return sum(self.splits.values())

    def scan(self) -> pl.LazyFrame:
        """Return the interactions as a lazy frame, for processing that does not hold them all in memory."""
        return pl.scan_parquet(self.path / "interactions.parquet", glob=False)

    def interactions(self, split: str | None = None, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Read interactions in the order of the source.

        Args:
            split: train, valid or test; None for all.
            columns: the columns to read; None for all.

        Returns:
            Columns user, item, user_id, item_id, rating, level, text, words, feature, opinion, sentiment, timestamp and
            split; `docs/data.md` describes them.

        Raises:
            DataError: the split is unknown.
        """
        rows = self.scan()
        if split is not None:
            if split not in SPLITS:
                raise DataError(f"split '{split}' is unknown: expected one of {', '.join(SPLITS)}")
            rows = rows.filter(pl.col("split") == split)
        return (rows if columns is None else rows.select(columns)).collect()

    def arrays(self, split: str | None = None) -> InteractionArrays:
        """Read the ids and levels of a split (None for all) as int64 arrays, [n] each."""
        rows = self.interactions(split, list(COLUMNS))
        return InteractionArrays(*id_arrays(rows), rows["level"].to_numpy().astype(np.int64))

    def mapped_arrays(self, directory: Path) -> dict[str, InteractionArrays]:
        """Return the ids and levels of every split as memory-mapped arrays, so that a split may exceed the memory.

        Args:
            directory: where the .npy files are written: user_id int32, item_id int32, level uint8, [n] each. An
                existing directory is used as it is.

        Returns:
            The arrays by split.
        """
        if not directory.exists():
            with staged_directory(directory) as staged:
                for split in SPLITS:
                    self._write_columns(split, staged)
        return {
            split: InteractionArrays(*(np.load(directory / f"{split}-{name}.npy", mmap_mode="r") for name in COLUMNS))
            for split in SPLITS
        }

    def _write_columns(self, split: str, directory: Path) -> None:
        columns = {
            name: open_memmap(directory / f"{split}-{name}.npy", "w+", dtype, shape=(self.splits[split],))
            for name, dtype in COLUMNS.items()
        }
        rows = self.scan().filter(pl.col("split") == split).select(*COLUMNS)
        start = 0
        for part in rows.collect_batches(chunk_size=1_000_000):
            for name, column in columns.items():
                column[start : start + len(part)] = part[name].to_numpy()
            start += len(part)
