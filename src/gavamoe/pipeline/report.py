"""The report of a run, of texts or ratings alone: collects report.html from the run, its data and its evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from gavamoe.conditions import Condition
from gavamoe.data.catalog import Catalog
from gavamoe.data.dataset import id_arrays
from gavamoe.diagnostics.clusters import summarize_clusters
from gavamoe.diagnostics.latent_map import LatentMap
from gavamoe.evaluation import plots
from gavamoe.evaluation.report import Picture, Report, bound_rows, write_report
from gavamoe.explainer.expert_usage import has_experts, usage_of_texts, usage_shares
from gavamoe.explainer.explainer import Explainer
from gavamoe.features.language import detect_language
from gavamoe.pipeline.evaluate import Comparison
from gavamoe.preference.model import PreferenceModel, assign_clusters
from gavamoe.preference.recommender import Recommender
from gavamoe.run import RunDirectory

MAX_MAP_POINTS = 4000
MAX_USAGE_TEXTS = 512  # texts whose routing is measured
NUM_EXAMPLES = 5
MAP_WORDS = "Latents of pairs, coloured by the cluster found, in the plane in which the clusters differ most."


def write_run_report(
    run: RunDirectory, comparison: Comparison, explainer: Explainer, truth: dict[str, int] | None = None
) -> None:
    """Write report.html and latent_map.png into the run.

    Args:
        run: the run directory.
        comparison: the evaluation to report, with the simple baselines.
        explainer: the run's explainer.
        truth: the true group of each user, known for simulated reviews; None otherwise.
    """
    config, experts, pictures = explainer.model.config, "none", []
    if has_experts(explainer.model):
        experts = f"{config.experts}, {config.experts_per_token} of them per token"
        experts += f"; {config.shared_experts} shared ones for every token" if config.shared_experts else ""
        words = "Share of routing choices that went to each expert in the generated texts, by cluster and layer."
        usage = plots.expert_usage(_usage_by_cluster(explainer, comparison))
        pictures = [("Expert usage by cluster", words, plots.to_svg(usage))]
    training = "Stage 1: validation error of ratings by epoch. Stage 2: loss of the texts by epoch."
    report = _collect(run, comparison, explainer, "GaVaMoE: what this run learned", pictures, training, truth)
    report.facts["experts"] = experts
    report.language = detect_language(comparison.reviews.frame["text"].fill_null("")).code
    write_report(run.report, report)


def write_rating_report(run: RunDirectory, comparison: Comparison, recommender: Recommender) -> None:
    """Write report.html and latent_map.png into a run that has stage 1 alone.

    Args:
        run: the run directory.
        comparison: the evaluation to report, with the rating baselines.
        recommender: stage 1 of the run.
    """
    frame = comparison.reviews.frame
    distribution = recommender.rating_distributions(*id_arrays(frame))
    reliability = plots.reliability(distribution, frame["level"].to_numpy().astype(np.int64))
    words = "Observed frequency of rating levels by their predicted probability; on the line, both are equal."
    pictures = [("Calibration", words, plots.to_svg(reliability))]
    training = "Validation objective and error of ratings by epoch."
    report = _collect(run, comparison, recommender, "GaVaMoE: the ratings of this run", pictures, training)
    write_report(run.report, report)


def _collect(
    run: RunDirectory,
    comparison: Comparison,
    model: Explainer | Recommender,
    title: str,
    pictures: list[Picture],
    training: str,
    truth: dict[str, int] | None = None,
) -> Report:
    """Return what reports of texts and of ratings have in common, and write latent_map.png into the run.

    Args:
        run: the run directory.
        comparison: the evaluation to report.
        model: both stages of the run, or stage 1 alone.
        title: of the page.
        pictures: shown between the latent map and the training curves.
        training: what the training curves show.
        truth: the true group of each user, if it is known.
    """
    reviews, evaluation, catalog = comparison.reviews, comparison.evaluation, model.catalog
    about, scale = reviews.about, catalog.scale
    sizes = f"{catalog.n_users:,} users, {catalog.n_items:,} items, {len(catalog.history):,} training reviews"
    shown = reviews.train if reviews.train is not None else reviews.frame
    latent = _latent_map(model.preference, shown, truth)
    plots.save_png(latent, run.latent_map)
    pictures = [("Latent map", MAP_WORDS, plots.to_svg(latent)), *pictures]
    records = run.read_training()
    if records:
        pictures.append(("Training", training, plots.to_svg(plots.loss_curves(records))))
    return Report(
        title=title,
        facts={
            "data": f"{about['data']} ({about['split']})",
            "training data": sizes,
            "rating scale": f"{scale.values[0]:g} to {scale.values[-1]:g}",
            "clusters": str(model.preference.clusters),
        },
        systems=comparison.systems,
        conditions={"n": f"{evaluation.n:,}", **evaluation.conditions},
        intervals=evaluation.intervals,
        groups=evaluation.groups,
        examples=example_rows(comparison, NUM_EXAMPLES),
        clusters=cluster_rows(model.preference, catalog, shown),
        pictures=pictures,
        bounds=bound_rows({**evaluation.metrics, **evaluation.further}, evaluation.bounds),
    )


def example_rows(comparison: Comparison, count: int) -> list[dict[str, Any]]:
    """Return `count` explanations spread over the clusters; the same evaluation always gives the same rows."""
    explanations = comparison.evaluation.explanations
    clusters = sorted({explanation.cluster for explanation in explanations})
    by_cluster = {c: [row for row, e in enumerate(explanations) if e.cluster == c] for c in clusters}
    chosen: list[int] = []
    for turn in range(count):
        for cluster in clusters:
            if turn < len(by_cluster[cluster]) and len(chosen) < count:
                chosen.append(by_cluster[cluster][len(by_cluster[cluster]) * (2 * turn + 1) // (2 * count)])
    frame = comparison.reviews.frame
    return [
        {
            **explanations[row].to_dict(),
            "true_rating": frame["rating"][row],
            "reference": frame["text"][row],
        }
        for row in dict.fromkeys(chosen)
    ]


def cluster_rows(preference: PreferenceModel, catalog: Catalog, reviews: pl.DataFrame) -> list[dict[str, Any]]:
    """Return each cluster's size, users, mean rating, over-represented genres and features, formatted for the page."""
    return [
        {
            "cluster": summary.cluster,
            "pairs": f"{summary.pairs:,}",
            "users": f"{summary.users:,}",
            "rating": summary.rating,
            "genres": ", ".join(summary.genres) or "–",
            "features": ", ".join(summary.features) or "–",
        }
        for summary in summarize_clusters(assign_clusters(preference, reviews), reviews, catalog)
    ]


def _latent_map(model: PreferenceModel, reviews: pl.DataFrame, truth: dict[str, int] | None) -> Figure:
    """Draw the latents of a sample of pairs by the cluster found and, where known, by the user's true group."""
    sample = reviews.sample(min(MAX_MAP_POINTS, len(reviews)), seed=0)
    user, item = id_arrays(sample)
    latent, cluster = model.latent(user, item).cpu().numpy(), model.assign(user, item).cpu().numpy()
    plane = LatentMap.fit(latent, cluster)
    labelled = {"clusters found": cluster}
    if truth is not None:
        labelled["true groups"] = np.array([truth[name] for name in sample["user"].to_list()])
    return plots.latent_map(plane.place(latent), labelled, plane.axis_names)


def _usage_by_cluster(explainer: Explainer, comparison: Comparison) -> np.ndarray:
    """Return expert shares, [clusters, layers, experts], over at most about MAX_USAGE_TEXTS of the evaluated texts."""
    explanations = comparison.evaluation.explanations
    step = max(1, len(explanations) // MAX_USAGE_TEXTS)
    rows = list(range(0, len(explanations), step))
    frame = comparison.reviews.frame[rows]
    cluster = np.array([explanations[row].cluster for row in rows])
    known = comparison.evaluation.conditions
    pairs, _ = explainer.context.build(frame, Condition(known["rating"], known["feature"], known["context"]))
    texts = [explanations[row].text for row in rows]
    counts = usage_of_texts(explainer.model, explainer.prompt, pairs, texts).numpy()
    return usage_shares(counts, cluster, explainer.preference.clusters)
