"""What it costs that rare users share rows of the table of users (`preference.user_rows`).

    python benchmarks/quality/user_rows.py DATA... [--shares 0.5 0.2 0.1 0.05] [--seeds 3]

Stage 1 is trained with a row for each user, and with fewer rows: a share of the users. The figures are the RMSE of the
validation ratings in levels, for all users, for those with a row of their own, and for those who share. The column
`unknown` is the RMSE of the latter if they are taken for the unknown user by the model that has a row for each.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch
from scipy.stats import ttest_1samp

from gavamoe.config import load_config
from gavamoe.data.dataset import InteractionArrays, ReviewDataset
from gavamoe.markdown import markdown_table
from gavamoe.preference.build import untrained_model
from gavamoe.preference.id_table import shared_rows
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.trainer import fit_preference


def train(dataset: ReviewDataset, arrays: dict[str, InteractionArrays], rows: int | None, seed: int) -> PreferenceModel:
    """Return stage 1 with so many rows for users; None is one for each."""
    config = load_config("small", None, []).preference.model_copy(update={"user_rows": rows})
    model = untrained_model(dataset.catalog, config, seed)
    fit_preference(model, arrays["train"], arrays["valid"], config, seed)
    return model.eval()


def squared_errors(model: PreferenceModel, valid: InteractionArrays, user_N: np.ndarray) -> np.ndarray:
    """Return the squared error of each validation rating, in levels, with other user ids, [N]."""
    user, item = (torch.from_numpy(np.array(ids, dtype=np.int64)) for ids in (user_N, valid.item_id))
    return (model.predict_rating(user, item).numpy() - valid.level) ** 2


def rmse(squared_N: np.ndarray) -> float:
    """Return the root of the mean; nan without ratings."""
    return float(np.sqrt(squared_N.mean())) if len(squared_N) else float("nan")


def measure(path: Path, shares: list[float], seeds: int) -> list[list[str]]:
    """Return a row of the table for each share of rows."""
    dataset = ReviewDataset.load(path)
    arrays = {split: dataset.arrays(split) for split in ("train", "valid")}
    valid, users = arrays["valid"], dataset.catalog.n_users
    whole = [train(dataset, arrays, None, seed) for seed in range(seeds)]
    before = [squared_errors(model, valid, valid.user_id) for model in whole]
    table = [[path.name, f"{users:,}", "each", f"{mean(map(rmse, before)):.4f}", "", "", "", "", ""]]
    for share in shares:
        rows = max(int(share * users), 10)
        found = []
        for seed in range(seeds):
            model = train(dataset, arrays, rows, seed)
            row_U = model.user_row_N
            assert row_U is not None
            rare_N = (row_U.numpy() <= shared_rows(rows))[valid.user_id]
            after = squared_errors(model, valid, valid.user_id)
            unknown = squared_errors(whole[seed], valid, np.zeros_like(valid.user_id))
            found.append(
                [
                    rmse(after),
                    rmse(after) - rmse(before[seed]),
                    rmse(after[~rare_N]) - rmse(before[seed][~rare_N]),
                    rmse(after[rare_N]) - rmse(before[seed][rare_N]),
                    rmse(unknown[rare_N]) - rmse(before[seed][rare_N]),
                    rare_N.mean(),
                ]
            )
        columns = [list(column) for column in zip(*found, strict=True)]
        p = ttest_1samp(columns[1], 0).pvalue if seeds > 1 else float("nan")
        spread = f" ± {stdev(columns[1]):.4f}, p {p:.2f}" if seeds > 1 else ""
        row = [path.name, f"{users:,}", f"{rows:,} ({share:.0%})", f"{mean(columns[0]):.4f}"]
        row += [f"{mean(columns[1]):+.4f}{spread}", *(f"{mean(column):+.4f}" for column in columns[2:5])]
        table.append([*row, f"{mean(columns[5]):.0%}"])
        print(table[-1], flush=True)
    return table


def main() -> None:
    """Train and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+", help="prepared datasets")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.5, 0.2, 0.1, 0.05])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    rows = [row for path in options.data for row in measure(path, options.shares, options.seeds)]
    heads = ["data", "users", "rows", "RMSE", "change", "own row", "shared row", "unknown", "ratings of the latter"]
    print(markdown_table(heads, rows))


if __name__ == "__main__":
    main()
