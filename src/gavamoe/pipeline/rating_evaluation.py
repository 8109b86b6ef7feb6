"""`gavamoe evaluate` of a run that has stage 1 alone: rating errors and calibration, beside two rating baselines.

Recommender -> ratings, distribution over the levels -> RMSE, MAE, rating NLL, rating ECE, overall and by group
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gavamoe.baselines.base import Predictions, System
from gavamoe.baselines.data import TextData
from gavamoe.baselines.simple import Biases, GlobalMean
from gavamoe.conditions import Condition
from gavamoe.data.dataset import id_arrays
from gavamoe.data.readers.open import ReadOptions
from gavamoe.errors import InputError
from gavamoe.evaluation.groups import ITEM_SPARSITY, SPARSITY, TRAINING_REVIEWS, by_group
from gavamoe.evaluation.outputs import Outputs
from gavamoe.evaluation.row_scores import Metrics, RowScores
from gavamoe.evaluation.score import CALIBRATION_METRICS, RATING_METRICS
from gavamoe.evaluation.significance import confidence_intervals
from gavamoe.pipeline.eval_set import EvalSet
from gavamoe.pipeline.evaluate import Comparison, Reviews, load_reviews, write_evaluation
from gavamoe.pipeline.evaluation import Evaluation, evaluate_system
from gavamoe.preference.recommender import Recommender
from gavamoe.run import RunDirectory

STAGE_1_LABEL = "GaVaMoE, stage 1"  # as reports and metrics name the system
GLOBAL_MEAN = "global mean"
CONDITION = "ratings"  # RUN/evaluations keeps the evaluation under this name: no prompt states anything


def rating_baselines() -> dict[str, System]:
    """Return the untrained baselines of a rating evaluation by the label that metrics.json has."""
    return {GLOBAL_MEAN: GlobalMean(), "user and item biases": Biases()}


def evaluate_ratings(
    run: RunDirectory,
    data: Path | None,
    split: str,
    limit: int | None = None,
    read: ReadOptions | None = None,
    verify: bool = False,
) -> tuple[Comparison, Recommender]:
    """Evaluate the ratings of stage 1 beside two baselines, and write metrics.json and predictions.jsonl into the run.

    Args:
        run: the run.
        data: another prepared dataset or a reviews file; None for the data that the run was trained on.
        split: which split of the data.
        limit: evaluate a random sample of that size.
        read: how a reviews file is read.
        verify: whether the checksums of large files of the run are checked too.

    Raises:
        InputError: the run or the data cannot be used; says why in one line.
    """
    recommender = Recommender.from_pretrained(run.path, verify=verify)
    reviews = load_reviews(run, recommender.catalog, data, split, read, limit)
    eval_set = EvalSet(reviews.frame, recommender.catalog, split=split)
    outputs = rating_outputs(recommender, eval_set)
    cluster_N = recommender.responsibilities(*id_arrays(reviews.frame)).argmax(-1)
    evaluation = _evaluate(eval_set, outputs, cluster_N, reviews.about)
    systems = {STAGE_1_LABEL: {**evaluation.metrics, **evaluation.further}, **_baselines(run, reviews, eval_set)}
    comparison = Comparison(evaluation, systems, reviews, eval_set)
    write_evaluation(run, comparison, CONDITION, _prediction_rows(eval_set, outputs, cluster_N))
    return comparison, recommender


def refuse_prompt_facts(condition: Condition) -> None:
    """Raise `InputError` if facts are given for a prompt: stage 1 has none, so the facts would be ignored."""
    if condition != Condition():
        raise InputError(
            "--rating and --feature state facts in a prompt, and stage 1 alone has no prompt: leave them out"
        )


def refuse_text_judges(fluency: str | None, similarity_model: str | None) -> None:
    """Raise `InputError` if models that judge texts are named: stage 1 writes none."""
    if fluency is not None or similarity_model is not None:
        raise InputError("--fluency and --similarity-model judge texts, and stage 1 alone writes none: leave them out")


def rating_outputs(recommender: Recommender, eval_set: EvalSet) -> Outputs:
    """Return the expected rating and the distribution over the levels that stage 1 predicts for each row."""
    user_id, item_id = id_arrays(eval_set.reviews)
    outputs = eval_set.outputs(Predictions(None, recommender.predict_ratings(user_id, item_id)))
    return _with_distribution(outputs, recommender.rating_distributions(user_id, item_id), eval_set)


def _evaluate(eval_set: EvalSet, outputs: Outputs, cluster_N: np.ndarray, about: dict[str, str]) -> Evaluation:
    reviews = eval_set.reviews
    scores = RowScores(outputs, (*RATING_METRICS, *CALIBRATION_METRICS))
    conditions: dict[str, Any] = {
        **about,
        "oracle": False,
        "cold_users": int((reviews["user_id"] == 0).sum()),
        "cold_items": int((reviews["item_id"] == 0).sum()),
    }
    groupings = {
        SPARSITY: eval_set.sparsity_labels(),
        ITEM_SPARSITY: eval_set.item_sparsity_labels(),
        "cluster": cluster_N.tolist(),
        "rating": reviews["rating"].to_list(),
    }
    values = scores.overall()
    standard = {metric.name for metric in RATING_METRICS}
    return Evaluation(
        n=len(reviews),
        conditions=conditions,
        metrics={name: value for name, value in values.items() if name in standard},
        intervals=confidence_intervals(scores),
        groups={name: by_group(scores, labels) for name, labels in groupings.items()},
        further={name: value for name, value in values.items() if name not in standard},
    )


def _baselines(run: RunDirectory, reviews: Reviews, eval_set: EvalSet) -> dict[str, Metrics]:
    """Return the metrics of the baselines; none without the training reviews.

    The calibration of the global mean is that of the shares of the levels in training, the distribution that it
    stands for.
    """
    if reviews.train is None:
        return {}
    catalog = eval_set.catalog
    data = TextData(reviews.train, reviews.train.clear(), catalog, run.read_card().settings.explainer)
    systems = {}
    for label, system in rating_baselines().items():
        system.fit(data, 0, run.path)
        systems[label] = evaluate_system(system, eval_set)
    count_R = np.bincount(reviews.train["level"].to_numpy(), minlength=catalog.scale.levels + 1)[1:]
    share_NR = np.tile(count_R / count_R.sum(), (len(reviews.frame), 1))
    outputs = _with_distribution(eval_set.outputs(Predictions(None, None)), share_NR, eval_set)
    systems[GLOBAL_MEAN] |= RowScores(outputs, CALIBRATION_METRICS).overall()
    return systems


def _with_distribution(outputs: Outputs, p_NR: np.ndarray, eval_set: EvalSet) -> Outputs:
    return replace(outputs, distribution=p_NR, level=eval_set.reviews["level"].to_numpy().astype(np.int64))


def _prediction_rows(eval_set: EvalSet, outputs: Outputs, cluster_N: np.ndarray) -> list[dict[str, object]]:
    """Return one row per pair, in the format that `gavamoe score` reads; a null prediction is no text."""
    predicted: list[float] = np.asarray(outputs.predicted, dtype=float).tolist()
    cold = eval_set.reviews.select(cold_user=pl.col("user_id") == 0, cold_item=pl.col("item_id") == 0).to_dicts()
    columns = zip(
        eval_set.reference_rows(), predicted, cluster_N.tolist(), cold, eval_set.training_reviews(), strict=True
    )
    return [
        {
            "user": known["user"],
            "item": known["item"],
            "prediction": None,
            "reference": known["reference"],
            "rating": known["rating"],
            "predicted_rating": rating,
            "cluster": cluster,
            **unknown,
            TRAINING_REVIEWS: count,
            "oracle": False,
        }
        for known, rating, cluster, unknown, count in columns
    ]
