"""The prepared dataset that a run was trained on: found, or missing with the reason.

run.yaml keeps its absolute path. A run that was exported or pushed keeps its name only, and has no data beside it.
"""

from __future__ import annotations

from pathlib import Path

from gavamoe.data.catalog import Catalog
from gavamoe.data.dataset import ReviewDataset
from gavamoe.errors import DataError
from gavamoe.run import RunDirectory

NAME_IT = "name the data with --data"


def find_dataset(run: RunDirectory, catalog: Catalog) -> ReviewDataset | None:
    """Return the dataset that a run was trained on; None if it is not there any more or was prepared anew.

    Args:
        run: the run.
        catalog: the run's catalog.

    Raises:
        DataError: the dataset is there, and it is damaged.
    """
    path = Path(run.read_card().data)
    return ReviewDataset.find(path, catalog) if path.is_absolute() else None


def require_dataset(run: RunDirectory, catalog: Catalog) -> ReviewDataset:
    """Return the dataset that a run was trained on.

    Args:
        run: the run.
        catalog: the run's catalog.

    Raises:
        DataError: the dataset is not there any more, was prepared anew, or is damaged.
    """
    path = Path(run.read_card().data)
    if not path.is_absolute():
        raise DataError(f"{run.path} came without its data, a prepared dataset with the name {path}; {NAME_IT}")
    if not path.is_dir():
        raise DataError(f"the data that {run.path} was trained on is not at {path} any more; {NAME_IT}")
    dataset = ReviewDataset.load(path)
    if not catalog.same_data_as(dataset.catalog):
        raise DataError(
            f"{path} was prepared anew since {run.path} was trained on it: it has other users, items or training "
            f"reviews, and its other splits may hold what the run has read; {NAME_IT}, or train a new run"
        )
    return dataset
