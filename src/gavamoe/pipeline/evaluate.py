"""`gavamoe evaluate`: evaluate a run on a split of its data, or on raw reviews, beside two simple baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zlib import crc32

import polars as pl

from gavamoe.baselines.base import System
from gavamoe.baselines.data import TextData
from gavamoe.baselines.simple import ItemMode, RandomSentence
from gavamoe.conditions import Condition
from gavamoe.data.catalog import Catalog
from gavamoe.data.dataset import ReviewDataset
from gavamoe.data.id_map import count_known_pairs
from gavamoe.data.readers.formats import refuse_unused_encoding
from gavamoe.data.readers.open import ReadOptions, read_reviews
from gavamoe.data.readers.reading import Reading
from gavamoe.data.tables import sample_rows
from gavamoe.errors import DataError
from gavamoe.evaluation.bounds import with_bounds
from gavamoe.evaluation.groups import TRAINING_REVIEWS
from gavamoe.evaluation.row_scores import Metrics
from gavamoe.explainer.explainer import Explainer
from gavamoe.files import staged_directory, write_json, write_json_lines
from gavamoe.pipeline.eval_set import EvalSet
from gavamoe.pipeline.evaluation import Evaluation, evaluate, evaluate_system
from gavamoe.pipeline.language_models import load_fluency_model, load_similarity_metrics
from gavamoe.pipeline.run_data import find_dataset, require_dataset
from gavamoe.run import RunDirectory

NAME_SHOWN = 60  # characters of a source in the name of its evaluation
GAVAMOE_LABEL = "GaVaMoE"  # as reports and metrics name the system; comparisons call it gavamoe
METRICS, PREDICTIONS = "metrics.json", "predictions.jsonl"


def simple_baselines() -> dict[str, System]:
    """Return the untrained baselines of an evaluation by the label that metrics.json has."""
    return {"item mean, most frequent sentence": ItemMode(), "random sentence of the item": RandomSentence()}


@dataclass(frozen=True)
class Reviews:
    """The reviews of an evaluation, encoded with the run's catalog.

    Args:
        frame: the reviews.
        source: the prepared dataset or the file that they come from.
        split: their split, or "all rows" of a file without splits.
        train: the training reviews; None if they are not available.
        limit: how many reviews were sampled; None for all.
        read_as: what was guessed about the file, such as its encoding; empty if nothing was.
        seen: how many of the reviews are of pairs with a training review of the run, which makes figures optimistic.
        seen_by_source: of a run that updates another: how many of the held-out reviews are of pairs with a training
            review of that other run, in words; empty if none are.
    """

    frame: pl.DataFrame
    source: Path
    split: str
    train: pl.DataFrame | None
    limit: int | None = None
    read_as: str = ""
    seen: int = 0
    seen_by_source: str = ""

    @property
    def about(self) -> dict[str, Any]:
        """Which reviews these are, as the conditions of an evaluation state it."""
        read_as = {"read_as": self.read_as} if self.read_as else {}
        limit = {} if self.limit is None else {"limit": self._sample}
        seen = {"seen_in_training": self.seen} if self.seen else {}
        by_source = {"seen_by_updated_run": self.seen_by_source} if self.seen_by_source else {}
        return {"data": self.source.name, "split": self.split, **read_as, **limit, **seen, **by_source}

    def directory_name(self, condition: str) -> str:
        """Return the name under which RUN/evaluations keeps the evaluation of these reviews under a condition."""
        checksum = crc32(bytes(self.source.resolve()))  # another file of the same name is other data
        parts = [f"{self.source.name[:NAME_SHOWN]}-{checksum:08x}", self.split]
        parts += [] if self.limit is None else [self._sample]
        return "_".join([*parts, condition]).replace(" ", "-")

    @property
    def _sample(self) -> str:
        return f"{self.limit} at random"

    def sample(self, limit: int | None) -> Reviews:
        """Return a random sample in the original order, or all reviews if there are no more than `limit`."""
        if limit is None or limit >= len(self.frame):
            return self
        return replace(self, frame=sample_rows(self.frame, limit), limit=limit)


@dataclass(frozen=True)
class Comparison:
    """The evaluation of a run, and the metrics of every system on the same rows.

    Args:
        evaluation: of the run.
        systems: metrics by label; the run is first.
        reviews: what they were evaluated on.
        eval_set: the same reviews with what is needed to score predictions.
    """

    evaluation: Evaluation
    systems: dict[str, Metrics]
    reviews: Reviews
    eval_set: EvalSet


def evaluate_run(
    run: RunDirectory,
    data: Path | None,
    split: str,
    condition: Condition,
    limit: int | None = None,
    read: ReadOptions | None = None,
    verify: bool = False,
    fluency: str | None = None,
    similarity_model: str | None = None,
) -> tuple[Comparison, Explainer]:
    """Evaluate a run and, if the training reviews are available, two simple baselines; write the results into the run.

    The run's metrics.json and predictions.jsonl are of the last evaluation. Its evaluations/ keeps both files for
    every combination of data, split and condition. `gavamoe.pipeline.report` writes the report.

    Args:
        run: the run.
        data: another prepared dataset or a reviews file; None for the data that the run was trained on.
        split: which split of the data.
        condition: which facts about a pair the prompt contains.
        limit: evaluate a random sample of that size.
        read: how a reviews file is read.
        verify: whether the checksums of large files of the run are checked too.
        fluency: the language model that measures the fluency of the texts; None leaves it out.
        similarity_model: name or directory of the model of the similarity metrics; None leaves them out.

    Raises:
        InputError: the run or the data cannot be used; says why in one line.
    """
    explainer = Explainer.from_pretrained(run.path, verify=verify)
    reviews = load_reviews(run, explainer.catalog, data, split, read, limit)
    judges = load_fluency_model(fluency) if fluency else None, load_similarity_metrics(similarity_model)
    eval_set = EvalSet.from_reviews(reviews.frame, explainer.catalog, reviews.train, split)
    absent = {"absent": run.absent} if run.absent else {}
    evaluation = evaluate(explainer, eval_set, condition, reviews.about | absent, *judges)
    systems = {GAVAMOE_LABEL: {**evaluation.metrics, **evaluation.further}}
    if reviews.train is not None:
        config = run.read_card().settings.explainer
        data_of_run = TextData(reviews.train, reviews.train.clear(), explainer.catalog, config)
        for label, system in simple_baselines().items():
            system.fit(data_of_run, 0, run.path)
            systems[label] = evaluate_system(system, eval_set)
    comparison = Comparison(evaluation, systems, reviews, eval_set)
    write_evaluation(run, comparison, condition.slug, prediction_rows(comparison))
    return comparison, explainer


def load_reviews(
    run: RunDirectory,
    catalog: Catalog,
    data: Path | None,
    split: str,
    read: ReadOptions | None = None,
    limit: int | None = None,
) -> Reviews:
    """Read a split of a prepared dataset, or a reviews file (of a file with a split column, the rows of that split).

    Args:
        run: the run.
        catalog: the run's, which encodes the reviews.
        data: another prepared dataset or a reviews file; None for the data that the run was trained on.
        split: which split of the data.
        read: how a reviews file is read.
        limit: draw a random sample of that size.

    Raises:
        DataError: the data is missing, was prepared again since the run was trained, has no such rows, or has ratings
            outside the run's scale.
    """
    if data is None:
        own = _prepared(catalog, require_dataset(run, catalog), split).sample(limit)
        seen = len(own.frame) if split == "train" else 0
        return replace(own, seen=seen, seen_by_source=_seen_by_source(run.read_card().updated_from or {}))
    other = _prepared(catalog, ReviewDataset.load(data), split) if data.is_dir() else None
    reviews = (other or _from_file(run, catalog, data, split, read)).sample(limit)
    return replace(reviews, seen=count_known_pairs(catalog, reviews.frame))


def _seen_by_source(record: dict[str, Any]) -> str:
    """Return how many held-out reviews of an update were training reviews of the run that it updates, in words."""
    if not record.get("held_out_seen"):
        return ""
    return f"{record['held_out_seen']:,} of {record['held_out']:,} validation and test reviews"


def _from_file(run: RunDirectory, catalog: Catalog, data: Path, split: str, read: ReadOptions | None) -> Reviews:
    """Return the reviews of a file; of a file with a split column, those of the split."""
    readings: list[Reading] = []
    frame = read_reviews(data, read, lambda _, reading: readings.append(reading), catalog.prepared)
    refuse_unused_encoding(str(data), readings, read.encoding if read is not None else None)
    read_as = "; ".join(readings[0].describe())
    has_splits = "split" in frame.columns
    if has_splits:
        found = sorted(frame["split"].drop_nulls().unique().to_list())
        frame = frame.filter(pl.col("split") == split)
        if frame.is_empty():
            raise DataError(f"{data} has no rows of split '{split}'; its split column has {', '.join(found)}")
    encoded = _encode(catalog, frame, str(data))
    own = find_dataset(run, catalog)
    train = None if own is None else own.interactions("train")
    return Reviews(encoded, data, split if has_splits else "all rows", train, read_as=read_as)


def _encode(catalog: Catalog, frame: pl.DataFrame, source: str) -> pl.DataFrame:
    """Return reviews with the ids of the run's catalog; an error names their source."""
    try:
        return catalog.encode(frame)
    except DataError as error:
        raise DataError(f"{source}, {error}, the scale this run was trained on") from None


def _prepared(catalog: Catalog, dataset: ReviewDataset, split: str) -> Reviews:
    frame = dataset.interactions(split)
    if frame.is_empty():
        raise DataError(f"{dataset.path} has no rows of split '{split}'")
    # Ids must be the run's: another prepared dataset has other ids for the same users.
    encoded = _encode(catalog, frame.drop("user_id", "item_id", "level"), f"{dataset.path}, {split}")
    train = catalog.encode(dataset.interactions("train").drop("user_id", "item_id", "level"))
    return Reviews(encoded, dataset.path, split, train)


def write_evaluation(
    run: RunDirectory, comparison: Comparison, condition: str, rows: Sequence[dict[str, object]]
) -> None:
    """Write metrics.json and predictions.jsonl into the run and into its evaluations/.

    A killed process leaves no files of different evaluations side by side: the run's report and metrics are deleted
    first, and its metrics are written last.

    Args:
        run: the run.
        comparison: its evaluation.
        condition: name of the condition, by which evaluations/ keeps it.
        rows: one per pair, in the format that `gavamoe score` reads.
    """
    own, *_ = comparison.systems
    bounds = comparison.eval_set.bounds
    baselines = {name: with_bounds(metrics, bounds) for name, metrics in comparison.systems.items() if name != own}
    metrics = {**comparison.evaluation.to_dict(), "baselines": baselines}
    with staged_directory(run.evaluations / comparison.reviews.directory_name(condition)) as staged:
        write_json_lines(staged / PREDICTIONS, rows)
        write_json(staged / METRICS, metrics)
    for outdated in (run.report, run.path / METRICS):
        outdated.unlink(missing_ok=True)
    write_json_lines(run.path / PREDICTIONS, rows)
    write_json(run.path / METRICS, metrics)


def prediction_rows(comparison: Comparison) -> list[dict[str, object]]:
    """Return one row per pair, in the format that `gavamoe score` reads."""
    eval_set = comparison.eval_set
    rows = zip(comparison.evaluation.explanations, eval_set.reference_rows(), eval_set.training_reviews(), strict=True)
    return [
        {
            "user": explanation.user,
            "item": explanation.item,
            "prediction": explanation.text,
            "reference": known["reference"],
            "feature": known["feature"],
            "rating": known["rating"],
            "predicted_rating": explanation.rating,
            "cluster": explanation.cluster,
            "cold_user": explanation.cold_user,
            "cold_item": explanation.cold_item,
            TRAINING_REVIEWS: count,
            "oracle": explanation.conditions["oracle"],
        }
        for explanation, known, count in rows
    ]
