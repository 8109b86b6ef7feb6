"""The report of a diagnosis as one HTML file without network access, and as Markdown for the clusters alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gavamoe.diagnostics import figures
from gavamoe.diagnostics.latent_map import LatentMap
from gavamoe.evaluation.report import render_page
from gavamoe.markdown import markdown_table

COLUMNS = ["cluster", "pairs", "users", "rating", "above items", "over-represented genres", "features"]
COLUMNS += ["likes", "dislikes"]
STATUSES = ("fail", "warn", "pass", "skipped")


def write_page(path: Path, diagnosis: dict[str, Any], latent_ND: np.ndarray, cluster_N: np.ndarray) -> None:
    """Write the report.

    Args:
        path: the HTML file.
        diagnosis: the content of diagnosis.json.
        latent_ND: latent means of the training pairs that the maps are fitted to (`draw_pairs`).
        cluster_N: their clusters.
    """
    experts, routing = diagnosis["experts"], diagnosis["routing"]
    count = {status: sum(check["status"] == status for check in diagnosis["checks"]) for status in STATUSES}
    page = render_page(
        "gavamoe.diagnostics",
        "diagnosis.html",
        diagnosis=diagnosis,
        count=count,
        checks=sorted(diagnosis["checks"], key=lambda check: STATUSES.index(check["status"])),
        colours=figures.COLOURS,
        maps=_maps(latent_ND, cluster_N),
        gains=figures.text_gains(diagnosis["comparison"]),
        gaps=figures.gaps(routing["boundary"]["gap_deciles"]) if routing.get("boundary") else None,
        retraining=figures.retraining(routing["changes"]) if routing.get("changes") else None,
        use=_use(experts),
        kinds=_kinds(experts),
        removal=figures.removal(experts["removal"]) if experts.get("removal") else None,
    )
    path.write_text(page, encoding="utf-8")


def _maps(latent_ND: np.ndarray, cluster_N: np.ndarray) -> list[str]:
    """Draw the discriminant plane, and the principal components beside it, which ignore the clusters."""
    found = LatentMap.fit(latent_ND, cluster_N)
    principal = LatentMap.fit(latent_ND, np.zeros_like(cluster_N))  # a single cluster has no discriminants
    title = found.method[0].upper() + found.method[1:]
    return [
        figures.plane(found.points, found.clusters, title),
        figures.plane(principal.points, found.clusters, "Principal components 1 and 2"),
    ]


def _use(experts: dict[str, Any]) -> list[str]:
    if "use" not in experts:
        return []
    share_CLE = np.array(experts["use"])
    layers = [layer["layer"] for layer in experts["layers"]]
    return figures.expert_use(share_CLE, layers, [f"cluster {cluster}" for cluster in range(len(share_CLE))])


def _kinds(experts: dict[str, Any]) -> list[str]:
    if "use_by_kind" not in experts:
        return []
    layers = [layer["layer"] for layer in experts["layers"]]
    return figures.expert_use(np.array(list(experts["use_by_kind"].values())), layers, list(experts["use_by_kind"]))


def markdown(diagnosis: dict[str, Any]) -> str:
    """Return the content of clusters.md: silhouette, stability and a table of the clusters.

    Args:
        diagnosis: the content of clusters.json.
    """
    head = [f"# Clusters of {diagnosis['run']}", f"{diagnosis['n']:,} training reviews."]
    if diagnosis["silhouette"] is not None:
        head.append(f"Silhouette of the users' latents: {diagnosis['silhouette']:.2f}.")
    if diagnosis["stability"] is not None:
        head.append(
            f"Stability: the clusters of {diagnosis['seeds'] + 1} trainings with different seeds agree with a mean "
            f"adjusted Rand index of {diagnosis['stability']:.2f}."
        )
    return "\n\n".join([*head, markdown_table(COLUMNS, map(_row, diagnosis["clusters"]))]) + "\n"


def checks_table(checks: list[dict[str, Any]]) -> str:
    """Return the checks as a Markdown table."""
    rows = [
        [
            check["name"],
            check["status"],
            "–" if check["value"] is None else f"{check['value']:.3f}",
            f"{check['fails']} {check['threshold']:g}",
            check["advice"] or "–",
        ]
        for check in checks
    ]
    return markdown_table(["check", "status", "value", "fails", "what to do"], rows)


def _row(cluster: dict[str, Any]) -> list[str]:
    labels = [", ".join(cluster[name]) or "–" for name in ("genres", "features", "likes", "dislikes")]
    size = f"{cluster['pairs']:,} ({cluster['share']:.0%})"
    numbers = [f"{cluster['users']:,}", f"{cluster['rating']:.2f}", f"{cluster['above']:+.2f}"]
    return [str(cluster["cluster"]), size, *numbers, *labels]
