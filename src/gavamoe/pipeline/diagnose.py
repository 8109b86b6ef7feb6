"""`gavamoe diagnose`: what a run's clusters are, as a table for people and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gavamoe.data.catalog import Catalog
from gavamoe.data.dataset import ReviewDataset
from gavamoe.diagnostics.clusters import assigned, describe, silhouette, stability, to_dict
from gavamoe.errors import DataError
from gavamoe.files import staged_file, write_json
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.trainer import fit_preference
from gavamoe.run import CATALOG_FILES, PREFERENCE_FILES, RunCard, RunDirectory


def diagnose_run(path: Path, out: Path, data: Path | None = None, seeds: int = 0) -> dict[str, Any]:
    """Write clusters.json and clusters.md into `out` and return what the first holds.

    Args:
        path: the run.
        out: a directory, made where needed.
        data: the prepared dataset; None for the one the run was trained on.
        seeds: so many times stage 1 is trained anew, each with another seed, to see how far the clusters agree.
    """
    run = RunDirectory(path)
    run.require(*PREFERENCE_FILES, *CATALOG_FILES)
    card = run.read_card()
    dataset = ReviewDataset.load(data or card.data)
    if not Catalog.load(run.catalog).same_data_as(dataset.catalog):
        raise DataError(
            f"{dataset.path} is not the data that this run was trained on: it has other users, items or training "
            "reviews; name the right one with --data"
        )
    reviews = dataset.interactions("train")
    model = PreferenceModel.from_pretrained(run.preference).eval()
    cluster = assigned(model, reviews)
    clusters = describe(cluster, reviews, dataset.catalog)
    found = {
        "run": str(path),
        "n": len(reviews),
        "silhouette": silhouette(model, reviews),
        "stability": stability([cluster, *(assigned(_again(dataset, card, s), reviews) for s in _others(card, seeds))]),
        "seeds": seeds,
        "clusters": [to_dict(one) for one in clusters],
    }
    write_json(out / "clusters.json", found)
    with staged_file(out / "clusters.md") as staged:
        staged.write_text(markdown(found), encoding="utf-8")
    return found


def _others(card: RunCard, seeds: int) -> range:
    return range(card.settings.seed + 1, card.settings.seed + 1 + seeds)


def _again(dataset: ReviewDataset, card: RunCard, seed: int) -> PreferenceModel:
    config, catalog = card.settings.preference, dataset.catalog
    model = PreferenceModel.from_config(catalog.n_users, catalog.n_items, catalog.scale.levels, config, seed)
    fit_preference(model, dataset.arrays("train"), dataset.arrays("valid"), config, seed)
    return model.eval()


def markdown(found: dict[str, Any]) -> str:
    """The table a person reads."""
    columns = ["cluster", "pairs", "users", "rating", "above items", "over-represented genres", "features"]
    columns += ["likes", "dislikes"]
    lines = [columns, ["---"] * len(columns)]
    for one in found["clusters"]:
        words = [", ".join(one[name]) or "–" for name in ("genres", "features", "likes", "dislikes")]
        size = f"{one['pairs']:,} ({one['share']:.0%})"
        lines.append([str(one["cluster"]), size, f"{one['users']:,}", f"{one['rating']:.2f}", f"{one['above']:+.2f}"])
        lines[-1] += words
    head = [f"# Clusters of {found['run']}", f"{found['n']:,} training reviews."]
    if found["silhouette"] is not None:
        head.append(f"Silhouette of the users' latents: {found['silhouette']:.2f}.")
    if found["stability"] is not None:
        head.append(
            f"Stability: the clusters of {found['seeds'] + 1} trainings with other seeds agree with a mean adjusted "
            f"Rand index of {found['stability']:.2f}."
        )
    return "\n\n".join(head) + "\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
