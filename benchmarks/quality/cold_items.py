"""Cold-start items: rating errors with and without item features, on a temporal split.

    gavamoe prepare REVIEWS --out DATA --split temporal
    python benchmarks/quality/cold_items.py DATA ITEMS [--features 8 16] [--seeds 5] [--split valid]

DATA is a prepared dataset, ITEMS a file of item metadata that includes the new items. Prints a Markdown table: RMSE in
levels over the pairs whose item has no training review, as mean and standard deviation over seeds, for known and for
unknown users, compared with the training mean and user biases; and the correlation, over new items, of the mean
predicted level with the mean true level.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl
import torch

from gavamoe.config import PreferenceConfig
from gavamoe.data.dataset import ReviewDataset
from gavamoe.data.items import read_items
from gavamoe.data.readers.layouts import Layout
from gavamoe.data.readers.rows import BadLines
from gavamoe.preference.item_features import ItemText
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.trainer import fit_preference


class Task:
    """The cold pairs of a split, with ids for the new items after the known ones."""

    def __init__(self, dataset: ReviewDataset, items: Path, split: str):
        self.dataset, self.catalog = dataset, dataset.catalog
        cold = dataset.interactions(split).filter(pl.col("item_id") == 0)
        names = cold["item"].unique(maintain_order=True)
        described = read_items([items], names, Layout("table", {"item": "item"}), BadLines())
        self.new = pl.DataFrame({"item": names}).join(described, on="item", how="left", maintain_order="left")
        place = dict(zip(names.to_list(), range(len(names)), strict=True))
        self.user = cold["user_id"].to_numpy().astype(np.int64)
        self.new_item = np.array([place[name] for name in cold["item"].to_list()]) + self.catalog.n_items + 1
        self.level = cold["level"].to_numpy()

    def errors(self, predicted: np.ndarray) -> tuple[float, float]:
        """RMSE over known and over unknown users."""
        square, known = (predicted - self.level) ** 2, self.user > 0
        return float(square[known].mean() ** 0.5), float(square[~known].mean() ** 0.5)


def gavamoe(task: Task, width: int, seed: int) -> np.ndarray:
    """Predicted levels of the cold pairs."""
    config, catalog = PreferenceConfig(item_features=width), task.catalog
    model = PreferenceModel.from_config(catalog.n_users, catalog.n_items, catalog.scale.levels, config, seed)
    text = ItemText(catalog.items, width, seed) if width else None
    if text:
        model.set_item_features(text.vectors(catalog.items))
    fit_preference(model, task.dataset.arrays("train"), task.dataset.arrays("valid"), config, seed)
    if text:
        model = model.with_new_items(text.vectors(task.new))
    item = task.new_item if text else np.zeros_like(task.new_item)
    return model.predict_rating(torch.from_numpy(task.user), torch.from_numpy(item)).numpy()


def biases(task: Task) -> np.ndarray:
    """Return the training mean plus the biases of known users, shrunk by a pseudo-count of three reviews."""
    train = task.dataset.arrays("train")
    mean, rows = train.level.mean(), task.catalog.n_users + 1
    added = np.bincount(train.user_id, train.level - mean, rows) / (np.bincount(train.user_id, minlength=rows) + 3)
    added[0] = 0
    return mean + added[task.user]


def agreement(task: Task, predicted: np.ndarray) -> float:
    """Return the correlation of mean predicted and mean true level over the new items, weighted by their pairs."""
    rows = pl.DataFrame({"item": task.new_item, "given": task.level, "predicted": predicted})
    means = rows.group_by("item").agg(pl.len(), pl.col("given", "predicted").mean())
    spread = np.cov(means["given"], means["predicted"], aweights=means["len"])
    return float(spread[0, 1] / np.sqrt(spread[0, 0] * spread[1, 1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("items", type=Path)
    parser.add_argument("--features", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--split", choices=("valid", "test"), default="valid")
    options = parser.parse_args()
    task = Task(ReviewDataset.load(options.data), options.items, options.split)
    known = int((task.user > 0).sum())
    sides = f"known users, n = {known} | unknown users, n = {len(task.user) - known}"
    print(f"| pairs with a new item | {sides} | correlation over items |\n|---|---|---|---|")
    mean = np.full(len(task.level), task.dataset.arrays("train").level.mean())
    print(row("training mean", task, [mean]))
    print(row("training mean and user bias", task, [biases(task)]))
    for width in [0, *options.features]:
        predicted = [gavamoe(task, width, seed) for seed in range(options.seeds)]
        print(row(f"GaVaMoE, {width} item features", task, predicted), flush=True)


def row(name: str, task: Task, predicted: list[np.ndarray]) -> str:
    """Return a line of the table from the predictions of each seed."""
    errors = zip(*(task.errors(prediction) for prediction in predicted), strict=True)
    agreements = [agreement(task, prediction) if np.ptp(prediction) else 0.0 for prediction in predicted]
    cells = [f"{np.mean(side):.3f} ± {np.std(side):.3f}" for side in (*errors, agreements)]
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
