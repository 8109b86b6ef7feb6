"""The demo: simulate reviews, prepare, train, evaluate, and compare the clusters found with the true groups.

With a base model, stage 2 is that model with prompts in words. Training and evaluation then take a sample of the
reviews, so that two cores suffice. The reviews may also be a file of the user's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sklearn.metrics import adjusted_rand_score

from gavamoe.conditions import Condition
from gavamoe.config import load_config
from gavamoe.data.dataset import ReviewDataset, id_arrays
from gavamoe.data.prepare import PrepareOptions, prepare
from gavamoe.data.simulate import World, simulate, simulate_items
from gavamoe.data.tables import write_table
from gavamoe.errors import InputError
from gavamoe.evaluation.row_scores import Metrics
from gavamoe.explainer.explainer import Explainer
from gavamoe.files import is_temporary, make_directory, remove_directory, write_json
from gavamoe.pipeline.evaluate import evaluate_run
from gavamoe.pipeline.report import example_rows, write_run_report
from gavamoe.pipeline.train import train_run
from gavamoe.run import RunDirectory
from gavamoe.seal import MANIFEST, check_replace, write_seal

RESULT, UNFINISHED = "demo.json", "unfinished"
REVIEWS, ITEMS = "reviews.jsonl.gz", "items.jsonl.gz"
# What two cores do with a base model of 135 million parameters in about ten minutes.
BASE_SETTINGS = (
    "explainer.max_reviews=320",
    "explainer.prompt_tokens=128",
    "explainer.epochs=1",
    "explainer.batch_size=8",
    "explainer.candidates=2",
    "explainer.max_tokens=40",
)
BASE_EVALUATED = 32  # test reviews


@dataclass(frozen=True)
class DemoResult:
    """The result of the demo.

    Args:
        n: number of evaluated reviews.
        conditions: what was evaluated, and what the prompt contained.
        systems: metrics of the run and of the simple baselines.
        examples: a few explanations with predicted rating, true rating and reference text.
        agreement: adjusted Rand index of found clusters and true groups, over "pairs" and over "users"; empty for
            reviews that are not simulated.
        report, picture: paths of report.html and latent_map.png.
    """

    n: int
    conditions: dict[str, Any]
    systems: dict[str, Metrics]
    examples: list[dict[str, Any]]
    agreement: dict[str, float]
    report: str
    picture: str

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return asdict(self)


def run_demo(
    out: Path,
    seed: int,
    on_note: Callable[[str], None],
    base_model: str | None = None,
    data: Path | None = None,
) -> DemoResult:
    """Simulate, prepare, train and evaluate in `out`; an earlier demo there, finished or not, is replaced.

    Args:
        out: the directory to write: reviews.jsonl.gz and items.jsonl.gz of a simulation, data/, run/ and demo.json.
        seed: seed of the simulated reviews, the split and the training.
        on_note: receives progress notes.
        base_model: name, hub id, directory or GGUF file of the LM that stage 2 starts from; None: a small one from
            scratch.
        data: file of reviews to use instead of simulated ones.

    Raises:
        InputError: `out` holds anything but a demo as this function wrote it, or the base model or the file cannot be
            used.
    """
    _make_empty(out)
    (out / UNFINISHED).write_text("A demo that has not ended writes here. The next demo replaces the directory.\n")
    world = World(seed=seed)
    truth: dict[str, int] | None = None
    if data is None:
        truth = _simulate(world, out, on_note)
    prepare([str(data or out / REVIEWS)], out / "data", PrepareOptions(seed=seed))
    run = RunDirectory(out / "run")
    preset = "tiny" if base_model is None else "pretrained"
    settings = [f"seed={seed}", *([f"preference.clusters={world.clusters}"] if data is None else [])]
    config = load_config(preset, None, [*settings, *(BASE_SETTINGS if base_model is not None else ())])
    train_run(out / "data", run.path, config, preset=preset, base_model=base_model, on_note=on_note)
    on_note("evaluating on the test reviews")
    limit = None if base_model is None else BASE_EVALUATED
    comparison, explainer = evaluate_run(run, None, "test", Condition(), limit)
    write_run_report(run, comparison, explainer, truth)
    result = DemoResult(
        n=comparison.evaluation.n,
        conditions=comparison.evaluation.conditions,
        systems=comparison.systems,
        examples=example_rows(comparison, 5),
        agreement={} if truth is None else agreement(explainer, ReviewDataset.load(out / "data"), truth),
        report=str(run.report),
        picture=str(run.latent_map),
    )
    write_json(out / RESULT, result.to_dict())
    write_seal(out, [path for path in out.rglob("*") if path.is_file() and path.name != UNFINISHED])
    (out / UNFINISHED).unlink()
    return result


def _make_empty(out: Path) -> None:
    """Create the directory, or delete the earlier demo in it; `InputError` if it holds anything else."""
    if out.is_symlink():
        check_replace(out, "demo", InputError)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        written = {UNFINISHED, REVIEWS, ITEMS, RESULT, MANIFEST, "data", "run"}
        found = {path.name for path in out.iterdir() if not is_temporary(path)}
        if not (out / UNFINISHED).is_file() or found - written:
            check_replace(out, "demo", InputError)
        remove_directory(out)
    make_directory(out)


def _simulate(world: World, out: Path, on_note: Callable[[str], None]) -> dict[str, int]:
    """Write the reviews and items of a world; return the true group of each user, by name."""
    on_note(f"simulating {world.reviews:,} reviews by {world.users} users in {world.clusters} groups of similar taste")
    reviews = simulate(world)
    write_table(reviews, out / REVIEWS)
    write_table(simulate_items(world), out / ITEMS)
    return dict(reviews.select("user", "cluster").unique().iter_rows())


def agreement(explainer: Explainer, dataset: ReviewDataset, truth: dict[str, int]) -> dict[str, float]:
    """Return the adjusted Rand index of found clusters and true groups.

    Args:
        explainer: the run's explainer.
        dataset: the prepared dataset.
        truth: the true group of each user, by name.

    Returns:
        The index over all "pairs" of the dataset and over the "users" of the training split; 1 is perfect agreement.
    """
    frame = dataset.interactions()
    user, item = id_arrays(frame)
    true_pairs = [truth[name] for name in frame["user"].to_list()]
    found_pairs = explainer.preference.assign(user, item).tolist()
    profile = explainer.preference.user_profile(user, item)[1:]
    true_users = [truth[name] for name in explainer.catalog.user_names[1:]]
    return {
        "pairs": float(adjusted_rand_score(true_pairs, found_pairs)),
        "users": float(adjusted_rand_score(true_users, profile.argmax(-1).tolist())),
    }
