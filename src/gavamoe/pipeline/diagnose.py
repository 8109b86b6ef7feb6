"""`gavamoe diagnose`: describe a run's clusters as a Markdown table and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from gavamoe.data.catalog import Catalog
from gavamoe.data.dataset import ReviewDataset
from gavamoe.diagnostics.clusters import assign_clusters, silhouette, stability, summarize_clusters
from gavamoe.errors import DataError
from gavamoe.files import staged_file, write_json
from gavamoe.markdown import markdown_table
from gavamoe.pipeline.drift import diagnose_drift, drift_markdown, is_own_data
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.trainer import fit_preference
from gavamoe.run import CATALOG_FILES, PREFERENCE_FILES, RunCard, RunDirectory

COLUMNS = ["cluster", "pairs", "users", "rating", "above items", "over-represented genres", "features"]
COLUMNS += ["likes", "dislikes"]


def diagnose_run(
    path: Path, out: Path, data: Path | None = None, seeds: int = 0, verify: bool = False
) -> dict[str, Any]:
    """Describe the clusters of a run's training reviews and write clusters.json and clusters.md into `out`.

    Args:
        path: the run.
        out: the directory to write; created if needed.
        data: the prepared dataset, if it has moved. Other data, a prepared dataset or a file of newer reviews, is not
            described but compared with the run's own: `pipeline.drift`.
        seeds: how many more times stage 1 is trained, each with another seed, to measure stability.
        verify: whether the checksums of large files of the run are checked too.

    Returns:
        The content of clusters.json: run, n, silhouette, stability, seeds and clusters; or that of drift.json.

    Raises:
        DataError: the dataset that the run was trained on is not where the run says, or `data` cannot be used.
        RunError: there is no run at `path`, or it lacks stage 1.
    """
    run = RunDirectory(path)
    run.require(*PREFERENCE_FILES, *CATALOG_FILES)
    run.check_seal(verify)
    card = run.read_card()
    if data is not None and not is_own_data(run, data):
        return diagnose_drift(path, out, data, verify)
    dataset = ReviewDataset.load(data or card.data)
    if not Catalog.load(run.catalog).same_data_as(dataset.catalog):
        raise DataError(
            f"{dataset.path} is not the data that this run was trained on: it has other users, items or training "
            "reviews; name the right dataset with --data"
        )
    reviews = dataset.interactions("train")
    model = PreferenceModel.from_pretrained(run.preference).eval()
    cluster = assign_clusters(model, reviews)
    first_seed = card.settings.seed + 1
    retrained = (_train_again(dataset, card, seed) for seed in range(first_seed, first_seed + seeds))
    diagnosis = {
        "run": str(path),
        "n": len(reviews),
        "silhouette": silhouette(model, reviews),
        "stability": stability([cluster, *(assign_clusters(other, reviews) for other in retrained)]),
        "seeds": seeds,
        "clusters": [asdict(summary) for summary in summarize_clusters(cluster, reviews, dataset.catalog)],
    }
    write_json(out / "clusters.json", diagnosis)
    with staged_file(out / "clusters.md") as staged:
        staged.write_text(markdown(diagnosis), encoding="utf-8")
    return diagnosis


def _train_again(dataset: ReviewDataset, card: RunCard, seed: int) -> PreferenceModel:
    """Train stage 1 with the run's settings and another seed."""
    config, catalog = card.settings.preference, dataset.catalog
    model = PreferenceModel.from_config(catalog.n_users, catalog.n_items, catalog.scale.levels, config, seed)
    fit_preference(model, dataset.arrays("train"), dataset.arrays("valid"), config, seed)
    return model.eval()


def markdown(diagnosis: dict[str, Any]) -> str:
    """Return the content of clusters.md: silhouette, stability and a table of the clusters.

    Args:
        diagnosis: the content of clusters.json; of drift.json, its own page is returned.
    """
    if "windows" in diagnosis:
        return drift_markdown(diagnosis)
    head = [f"# Clusters of {diagnosis['run']}", f"{diagnosis['n']:,} training reviews."]
    if diagnosis["silhouette"] is not None:
        head.append(f"Silhouette of the users' latents: {diagnosis['silhouette']:.2f}.")
    if diagnosis["stability"] is not None:
        head.append(
            f"Stability: the clusters of {diagnosis['seeds'] + 1} trainings with different seeds agree with a mean "
            f"adjusted Rand index of {diagnosis['stability']:.2f}."
        )
    return "\n\n".join([*head, markdown_table(COLUMNS, map(_row, diagnosis["clusters"]))]) + "\n"


def _row(cluster: dict[str, Any]) -> list[str]:
    labels = [", ".join(cluster[name]) or "–" for name in ("genres", "features", "likes", "dislikes")]
    size = f"{cluster['pairs']:,} ({cluster['share']:.0%})"
    numbers = [f"{cluster['users']:,}", f"{cluster['rating']:.2f}", f"{cluster['above']:+.2f}"]
    return [str(cluster["cluster"]), size, *numbers, *labels]
