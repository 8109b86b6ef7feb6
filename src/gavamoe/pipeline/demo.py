"""The demo: simulate, prepare, train, evaluate, and hold the clusters that were found against the truth."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import adjusted_rand_score

from gavamoe.conditions import Condition
from gavamoe.config import load_config
from gavamoe.data.dataset import ReviewDataset
from gavamoe.data.prepare.prepare import PrepareOptions, prepare
from gavamoe.data.simulate import World, simulate
from gavamoe.data.tables import write_table
from gavamoe.errors import InputError
from gavamoe.evaluation.score import Metrics
from gavamoe.explainer.explainer import Explainer
from gavamoe.files import write_json
from gavamoe.pipeline.evaluate import evaluate_run
from gavamoe.pipeline.report import example_rows, write_run_report
from gavamoe.pipeline.train import train_run
from gavamoe.run import RunDirectory

RESULT = "demo.json"


@dataclass(frozen=True)
class DemoResult:
    """What the demo shows; `agreement` holds the adjusted Rand index of pairs and of users."""

    n: int
    conditions: dict[str, Any]
    systems: dict[str, Metrics]
    examples: list[dict[str, Any]]
    agreement: dict[str, float]
    report: str
    picture: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def run_demo(out: Path, seed: int, on_note: Callable[[str], None]) -> DemoResult:
    """Do the whole job in `out`: reviews.jsonl.gz, data/, run/, demo.json."""
    if out.exists() and not (out / RESULT).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is no finished demo; remove it or choose another --out")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    world = World(seed=seed)
    on_note(f"simulating {world.reviews:,} reviews by {world.users} users in {world.clusters} groups of taste")
    reviews = simulate(world)
    write_table(reviews, out / "reviews.jsonl.gz")
    prepare([str(out / "reviews.jsonl.gz")], out / "data", PrepareOptions(seed=seed))
    run = RunDirectory(out / "run")
    config = load_config("tiny", None, [f"preference.clusters={world.clusters}", f"seed={seed}"])
    train_run(out / "data", run.path, config, preset="tiny", on_note=on_note)
    on_note("evaluating on reviews the model has not seen")
    comparison, explainer = evaluate_run(run, None, "test", Condition())
    truth = dict(reviews.select("user", "cluster").unique().iter_rows())
    write_run_report(run, comparison, explainer, truth)
    result = DemoResult(
        n=comparison.evaluation.n,
        conditions=comparison.evaluation.conditions,
        systems=comparison.systems,
        examples=example_rows(comparison, 5),
        agreement=agreement(explainer, ReviewDataset.load(out / "data"), truth),
        report=str(run.report),
        picture=str(run.latent_map),
    )
    write_json(out / RESULT, result.to_dict())
    return result


def agreement(explainer: Explainer, dataset: ReviewDataset, truth: dict[str, int]) -> dict[str, float]:
    """Adjusted Rand index of found clusters against true groups, over all pairs and over the users of training."""
    frame = dataset.interactions()
    user, item = (torch.from_numpy(frame[name].to_numpy().astype(np.int64)) for name in ("user_id", "item_id"))
    true_pairs = [truth[name] for name in frame["user"].to_list()]
    found_pairs = explainer.preference.assign(user, item).tolist()
    profile = explainer.preference.user_profile(user, item)[1:]
    true_users = [truth[name] for name in explainer.catalog.user_names[1:]]
    return {
        "pairs": float(adjusted_rand_score(true_pairs, found_pairs)),
        "users": float(adjusted_rand_score(true_users, profile.argmax(-1).tolist())),
    }
