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
from gavamoe.evaluation.report import Report, bound_rows, write_report
from gavamoe.explainer.expert_usage import has_experts, usage_of_texts
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
    reviews = comparison.reviews
    shown = reviews.train if reviews.train is not None else reviews.frame
    latent = _latent_map(explainer.preference, shown, truth)
    plots.save_png(latent, run.latent_map)
    pictures = [("Latent map", MAP_WORDS, plots.to_svg(latent))]
    config, experts = explainer.model.config, "none"
    if has_experts(explainer.model):
        experts = f"{config.experts}, {config.experts_per_token} of them per token"
        words = "Share of routing choices that went to each expert in the generated texts, by cluster and layer."
        usage = plots.expert_usage(_usage_by_cluster(explainer, comparison))
        pictures.append(("Expert usage by cluster", words, plots.to_svg(usage)))
    records = run.read_training()
    if records:
        words = "Stage 1: validation error of ratings by epoch. Stage 2: loss of the texts by epoch."
        pictures.append(("Training", words, plots.to_svg(plots.loss_curves(records))))
    report = Report(
        title="GaVaMoE: what this run learned",
        facts={
            **_facts(comparison, explainer.catalog),
            "clusters": str(explainer.preference.clusters),
            "experts": experts,
        },
        systems=comparison.systems,
        conditions={"n": f"{comparison.evaluation.n:,}", **comparison.evaluation.conditions},
        intervals=comparison.evaluation.intervals,
        groups=comparison.evaluation.groups,
        examples=example_rows(comparison, NUM_EXAMPLES),
        clusters=cluster_rows(explainer.preference, explainer.catalog, shown),
        pictures=pictures,
        bounds=bound_rows(
            {**comparison.evaluation.metrics, **comparison.evaluation.further}, comparison.evaluation.bounds
        ),
        language=detect_language(reviews.frame["text"].fill_null("")).code,
    )
    write_report(run.report, report)


def write_rating_report(run: RunDirectory, comparison: Comparison, recommender: Recommender) -> None:
    """Write report.html and latent_map.png into a run that has stage 1 alone.

    Args:
        run: the run directory.
        comparison: the evaluation to report, with the rating baselines.
        recommender: stage 1 of the run.
    """
    reviews, preference, catalog = comparison.reviews, recommender.preference, recommender.catalog
    shown = reviews.train if reviews.train is not None else reviews.frame
    latent = _latent_map(preference, shown, None)
    plots.save_png(latent, run.latent_map)
    distribution = recommender.rating_distributions(*id_arrays(reviews.frame))
    reliability = plots.reliability(distribution, reviews.frame["level"].to_numpy().astype(np.int64))
    pictures = [
        ("Latent map", MAP_WORDS, plots.to_svg(latent)),
        (
            "Calibration",
            "Observed frequency of rating levels by their predicted probability; on the line, both are equal.",
            plots.to_svg(reliability),
        ),
    ]
    records = run.read_training()
    if records:
        words = "Validation objective and error of ratings by epoch."
        pictures.append(("Training", words, plots.to_svg(plots.loss_curves(records))))
    report = Report(
        title="GaVaMoE: the ratings of this run",
        facts={**_facts(comparison, catalog), "clusters": str(preference.clusters)},
        systems=comparison.systems,
        conditions={"n": f"{comparison.evaluation.n:,}", **comparison.evaluation.conditions},
        intervals=comparison.evaluation.intervals,
        groups=comparison.evaluation.groups,
        clusters=cluster_rows(preference, catalog, shown),
        pictures=pictures,
    )
    write_report(run.report, report)


def _facts(comparison: Comparison, catalog: Catalog) -> dict[str, str]:
    """Return what the head of a report says of the data."""
    about, scale = comparison.reviews.about, catalog.scale
    sizes = f"{catalog.n_users:,} users, {catalog.n_items:,} items, {len(catalog.history):,} training reviews"
    return {
        "data": f"{about['data']} ({about['split']})",
        "training data": sizes,
        "rating scale": f"{scale.values[0]:g} to {scale.values[-1]:g}",
    }


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
    return plots.shares(counts, cluster, explainer.preference.clusters)
