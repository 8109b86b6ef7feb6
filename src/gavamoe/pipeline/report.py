"""The report of a run: gathers what the page shows from the run, its data and its evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import torch

from gavamoe.conditions import Condition
from gavamoe.diagnostics.clusters import assigned, describe
from gavamoe.evaluation import plots
from gavamoe.evaluation.report import Report, write_report
from gavamoe.explainer.expert_usage import usage_of_texts
from gavamoe.explainer.explainer import Explainer
from gavamoe.pipeline.evaluate import Comparison
from gavamoe.run import RunDirectory

MAP_POINTS = 4000
USE_TEXTS = 512
EXAMPLES = 5


def write_run_report(
    run: RunDirectory, comparison: Comparison, explainer: Explainer, truth: dict[str, int] | None = None
) -> None:
    """Write report.html and latent_map.png into the run; `truth` is the true group of each user, where known."""
    reviews = comparison.reviews
    shown = reviews.train if reviews.train is not None else reviews.frame
    latent = _map(explainer, shown, truth)
    plots.save_png(latent, run.latent_map)
    pictures = [
        ("Latent map", "Pairs by their latent taste, coloured by the cluster that was found.", plots.to_svg(latent)),
        (
            "Which experts each cluster uses",
            "Share of the routing choices of written texts that went to each expert, by cluster and layer.",
            plots.to_svg(plots.expert_usage(_use_by_cluster(explainer, comparison))),
        ),
    ]
    records = run.read_training()
    if records:
        words = "Stage 1: validation error of ratings by epoch. Stage 2: loss of the texts by epoch."
        pictures.append(("Training", words, plots.to_svg(plots.loss_curves(records))))
    catalog = explainer.catalog
    report = Report(
        title="GaVaMoE: what this run learned",
        facts={
            "data": f"{reviews.about['data']} ({reviews.about['split']})",
            "knows": f"{catalog.n_users:,} users, {catalog.n_items:,} items, {len(catalog.history):,} training reviews",
            "rating scale": f"{catalog.scale.values[0]:g} to {catalog.scale.values[-1]:g}",
            "clusters": str(explainer.preference.clusters),
            "experts": f"{explainer.model.config.experts}, {explainer.model.config.experts_per_token} of them a token",
        },
        systems=comparison.systems,
        conditions={"n": f"{comparison.evaluation.n:,}", **comparison.evaluation.conditions},
        intervals=comparison.evaluation.intervals,
        groups=comparison.evaluation.groups,
        examples=example_rows(comparison, EXAMPLES),
        clusters=cluster_rows(explainer, shown),
        pictures=pictures,
    )
    write_report(run.report, report)


def example_rows(comparison: Comparison, count: int) -> list[dict[str, Any]]:
    """Explanations spread over the clusters, the same ones each time."""
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


def cluster_rows(explainer: Explainer, reviews: pl.DataFrame) -> list[dict[str, Any]]:
    """Size, users, mean rating, over-represented genres and features of each cluster."""
    return [
        {
            "cluster": one.cluster,
            "pairs": f"{one.pairs:,}",
            "users": f"{one.users:,}",
            "rating": one.rating,
            "genres": ", ".join(one.genres) or "–",
            "features": ", ".join(one.features) or "–",
        }
        for one in describe(assigned(explainer.preference, reviews), reviews, explainer.catalog)
    ]


def _map(explainer: Explainer, reviews: pl.DataFrame, truth: dict[str, int] | None) -> Any:
    sample = reviews.sample(min(MAP_POINTS, len(reviews)), seed=0)
    user = torch.from_numpy(sample["user_id"].to_numpy().astype(np.int64))
    item = torch.from_numpy(sample["item_id"].to_numpy().astype(np.int64))
    model = explainer.preference
    points = plots.two_dimensions(model.latent(user, item).cpu().numpy())
    labelled = {"clusters found": model.assign(user, item).cpu().numpy()}
    if truth is not None:
        labelled["true groups"] = np.array([truth[name] for name in sample["user"].to_list()])
    return plots.latent_map(points, labelled)


def _use_by_cluster(explainer: Explainer, comparison: Comparison) -> np.ndarray:
    """Expert shares [clusters, layers, experts] over up to USE_TEXTS of the evaluated texts."""
    explanations = comparison.evaluation.explanations
    step = max(1, len(explanations) // USE_TEXTS)
    rows = list(range(0, len(explanations), step))
    frame = comparison.reviews.frame[rows]
    cluster = np.array([explanations[row].cluster for row in rows])
    known = comparison.evaluation.conditions
    pairs, _ = explainer.context.build(frame, Condition(known["rating"], known["feature"]))
    texts = [explanations[row].text for row in rows]
    counts = usage_of_texts(explainer.model, explainer.tokenizer, pairs, texts).numpy()
    return plots.shares(counts, cluster, explainer.preference.clusters)
