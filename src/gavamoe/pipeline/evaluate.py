"""`gavamoe evaluate`: a run on the test split of its data, or on raw reviews it has never seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zlib import crc32

import polars as pl

from gavamoe.baselines.simple import ItemMode, RandomSentence
from gavamoe.conditions import Condition
from gavamoe.data.catalog import Catalog
from gavamoe.data.dataset import FILES as DATASET_FILES
from gavamoe.data.dataset import ReviewDataset
from gavamoe.data.readers.open import read_reviews
from gavamoe.errors import DataError
from gavamoe.evaluation.groups import TRAINING_REVIEWS
from gavamoe.evaluation.score import Metrics
from gavamoe.explainer.explainer import Explainer
from gavamoe.files import write_json, write_json_lines
from gavamoe.pipeline.evaluation import Evaluation, evaluate, evaluate_system
from gavamoe.run import RunDirectory

SYSTEM_NAME = "GaVaMoE"


@dataclass(frozen=True)
class Reviews:
    """Reviews encoded with the run's catalog; where and which they are; and the training reviews, where at hand."""

    frame: pl.DataFrame
    source: Path
    about: dict[str, str]
    train: pl.DataFrame | None


@dataclass(frozen=True)
class Comparison:
    """Our evaluation, and every system's metrics on the same rows (ours first)."""

    evaluation: Evaluation
    systems: dict[str, Metrics]
    reviews: Reviews


def evaluate_run(
    run: RunDirectory, data: Path | None, split: str, condition: Condition, limit: int | None = None
) -> tuple[Comparison, Explainer]:
    """Evaluate, compare with the trivial baselines where the training reviews are at hand, and write both into the run.

    metrics.json and predictions.jsonl are the last evaluation's; evaluations/ keeps both of every data, split and
    condition. The report is `gavamoe.pipeline.report`'s.
    """
    explainer = Explainer.from_pretrained(run.path)
    reviews = load_reviews(run, explainer, data, split)
    if limit is not None and limit < len(reviews.frame):
        # A random sample, not the first rows: files are often sorted.
        frame = reviews.frame.with_row_index("_row").sample(limit, seed=0).sort("_row").drop("_row")
        reviews = replace(reviews, frame=frame, about={**reviews.about, "limit": f"{limit} at random"})
    evaluation = evaluate(explainer, reviews.frame, condition, dict(reviews.about), reviews.train)
    systems = {SYSTEM_NAME: {**evaluation.metrics, **evaluation.further}}
    if reviews.train is not None:
        scale = explainer.catalog.scale
        for system in (ItemMode.fit(reviews.train, scale), RandomSentence.fit(reviews.train, scale)):
            systems[system.name] = evaluate_system(system, explainer, reviews.frame, reviews.train)
    comparison = Comparison(evaluation, systems, reviews)
    _write(run, comparison, condition, explainer.catalog)
    return comparison, explainer


def load_reviews(run: RunDirectory, explainer: Explainer, data: Path | None, split: str) -> Reviews:
    """A split of a prepared dataset, or a reviews file (where it has a split column, the rows of that split)."""
    source = data if data is not None else Path(run.read_card().data)
    if data is None and not source.is_dir():
        raise DataError(
            f"the data this run was trained on is not at {source} any more; name it, or reviews, with --data"
        )
    if source.is_dir():
        dataset = ReviewDataset.load(source)
        if data is None and not explainer.catalog.same_data_as(dataset.catalog):
            raise DataError(
                f"{source} was prepared anew since this run was trained on it, and its split '{split}' may hold what "
                "the run has read; evaluate it all the same with --data, or train a new run"
            )
        return _prepared(explainer, dataset, split)
    frame, about = read_reviews(source, explainer.catalog.prepared), {"data": source.name, "split": "all rows"}
    if "split" in frame.columns:
        found = sorted(frame["split"].drop_nulls().unique().to_list())
        frame, about = frame.filter(pl.col("split") == split), {"data": source.name, "split": split}
        if frame.is_empty():
            raise DataError(f"{source} has no rows of split '{split}'; its split column has {', '.join(found)}")
    try:
        return Reviews(explainer.catalog.encode(frame), source, about, _train_of(run, explainer))
    except DataError as error:
        raise DataError(f"{source}, {error}, the scale this run was trained on") from None


def _prepared(explainer: Explainer, dataset: ReviewDataset, split: str) -> Reviews:
    frame = dataset.interactions(split)
    if frame.is_empty():
        raise DataError(f"{dataset.path} has no rows of split '{split}'")
    # The run's own ids: another prepared dataset numbers its users in its own way.
    encoded = explainer.catalog.encode(frame.drop("user_id", "item_id", "level"))
    train = explainer.catalog.encode(dataset.interactions("train").drop("user_id", "item_id", "level"))
    return Reviews(encoded, dataset.path, {"data": dataset.path.name, "split": split}, train)


def _train_of(run: RunDirectory, explainer: Explainer) -> pl.DataFrame | None:
    """The training reviews of the run, when its data is still where and what it was."""
    path = Path(run.read_card().data)
    if not all((path / name).is_file() for name in DATASET_FILES):
        return None
    dataset = ReviewDataset.load(path)
    return dataset.interactions("train") if explainer.catalog.same_data_as(dataset.catalog) else None


def _write(run: RunDirectory, comparison: Comparison, condition: Condition, catalog: Catalog) -> None:
    baselines = {name: metrics for name, metrics in comparison.systems.items() if name != SYSTEM_NAME}
    data, *which = comparison.reviews.about.values()
    # Another file of the same name is other data.
    place = f"{crc32(bytes(comparison.reviews.source.resolve())):08x}"
    name = "_".join([f"{data}-{place}", *which, condition.slug]).replace(" ", "-")
    metrics = {**comparison.evaluation.to_dict(), "baselines": baselines}
    rows = prediction_rows(comparison, catalog)
    for where in (run.evaluations / name, run.path):
        write_json(where / "metrics.json", metrics)
        write_json_lines(where / "predictions.jsonl", rows)


def prediction_rows(comparison: Comparison, catalog: Catalog) -> Sequence[dict[str, object]]:
    """A row a pair, readable by `gavamoe score`: prediction, reference, feature, rating, predicted_rating, ..."""
    frame = comparison.reviews.frame
    features = frame["feature"].to_list() if "feature" in frame.columns else [None] * len(frame)
    counts = catalog.training_reviews(frame)
    references, ratings = frame["text"].fill_null("").to_list(), frame["rating"].to_list()
    return [
        {
            "user": explanation.user,
            "item": explanation.item,
            "prediction": explanation.text,
            "reference": reference,
            "feature": feature,
            "rating": rating,
            "predicted_rating": explanation.rating,
            "cluster": explanation.cluster,
            "cold_user": explanation.cold_user,
            "cold_item": explanation.cold_item,
            TRAINING_REVIEWS: count,
            "oracle": explanation.conditions["oracle"],
        }
        for explanation, reference, feature, rating, count in zip(
            comparison.evaluation.explanations, references, features, ratings, counts, strict=True
        )
    ]
