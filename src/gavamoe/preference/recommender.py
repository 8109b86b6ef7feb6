"""The entry point to stage 1 of a run: `Recommender.from_pretrained(RUN).recommend(user=...)`.

It needs no texts and no language model, so it serves runs that were trained on ratings alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from gavamoe.checkpoint import loading
from gavamoe.data.catalog import Catalog
from gavamoe.distributed import default_device
from gavamoe.errors import RunError
from gavamoe.files import reading
from gavamoe.preference.fold_in import with_guests
from gavamoe.preference.history import History, read_history
from gavamoe.preference.model import PreferenceModel
from gavamoe.run import CATALOG_FILES, PREFERENCE_FILES, RunDirectory


def load_preference(run: RunDirectory) -> PreferenceModel:
    """Return stage 1 of a run, in evaluation mode.

    Raises:
        RunError: its files are missing or damaged.
    """
    run.require(*PREFERENCE_FILES)
    with loading(run.preference):
        return PreferenceModel.from_pretrained(run.preference).eval()


class Recommender:
    """Stage 1 of a run, with the names of its users and items.

    Args:
        preference: the model of stage 1.
        catalog: names, rating scale and training history.
    """

    def __init__(self, preference: PreferenceModel, catalog: Catalog):
        self.preference, self.catalog = preference.eval(), catalog

    @classmethod
    def from_pretrained(
        cls, run: Path | str, device: str | torch.device | None = None, verify: bool = False
    ) -> Recommender:
        """Load stage 1 of a run directory.

        Args:
            run: a directory that `gavamoe train` wrote.
            device: where to run; a GPU by default, if there is one.
            verify: whether the checksums of large files are checked too, which reads them as a whole.

        Raises:
            RunError: A file is missing, damaged or of another run; the message names it.
        """
        directory = RunDirectory(Path(run))
        directory.require(*CATALOG_FILES, *PREFERENCE_FILES)
        directory.check_seal(verify)
        preference = load_preference(directory)
        with reading(directory.catalog):
            catalog = Catalog.load(directory.catalog)
        if (catalog.n_users, catalog.n_items) != (preference.users, preference.items):
            raise RunError(
                f"{directory.catalog} has {catalog.n_users:,} users and {catalog.n_items:,} items, and "
                f"{directory.preference} {preference.users:,} and {preference.items:,}: one of them is of another run"
            )
        return cls(preference.to(default_device() if device is None else device), catalog)

    def predict_ratings(self, user_id: np.ndarray, item_id: np.ndarray) -> np.ndarray:
        """Return the expected rating of pairs on the scale of the source, float [N]; ids int64 [N], 0 is unknown."""
        ratings: np.ndarray = self.catalog.scale.to_rating(
            self.preference.predict_rating(user_id, item_id).cpu().numpy()
        )
        return ratings

    def rating_distributions(self, user_id: np.ndarray, item_id: np.ndarray) -> np.ndarray:
        """Return the predicted probability of each rating level, [N, R]; ids int64 [N]."""
        return self.preference.rating_distribution(user_id, item_id).cpu().numpy()

    def responsibilities(self, user_id: np.ndarray, item_id: np.ndarray) -> np.ndarray:
        """Return the responsibilities of the K clusters for each pair, [N, K]; ids int64 [N]."""
        return self.preference.responsibilities(user_id, item_id).cpu().numpy()

    def recommend(self, user: Any = None, top: int = 10, history: History | None = None) -> pl.DataFrame:
        """Return the items with the best predicted rating among those without a training review by the user.

        Args:
            user: name of the user; an unknown user gets the items that suit the unknown user.
            top: number of items.
            history: rated items, mappings with the keys item and rating. The user is then estimated from the history
                alone, and its items are not recommended. An empty history is the unknown user.

        Returns:
            Columns item_id, item, title, rating; best first.

        Raises:
            DataError: The history is invalid (`UserHistory.from_entries`).
        """
        model, user_id = self.preference, 0 if user is None else self.catalog.user_id(user)
        seen = self.catalog.seen(user_id)
        if history is not None:
            rated = read_history(history, self.catalog)
            model, user_id = with_guests(model, [rated.estimate(model)]), model.users + 1
            seen = np.array(rated.item_ids, dtype=np.int64)
        candidates = np.setdiff1d(np.arange(1, self.catalog.n_items + 1), seen)
        level = model.predict_rating(np.full(len(candidates), user_id), candidates).cpu().numpy()
        best = np.argsort(-level, kind="stable")[:top]
        item_ids = candidates[best]
        items = self.catalog.items[(item_ids - 1).tolist()]
        return pl.DataFrame(
            {
                "item_id": item_ids,
                "item": items["item"],
                "title": items["title"],
                "rating": np.asarray(self.catalog.scale.to_rating(level[best]), dtype=np.float64),
            }
        )
