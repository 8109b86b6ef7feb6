"""`gavamoe diagnose`: describe a run's clusters, routing, experts and texts, judge them by named checks, and report.

diagnose_run: DiagnosedRun.open -> diagnosis_of (clusters, routing, experts, texts, checks) -> report and JSON files
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gavamoe.data.catalog import Catalog
from gavamoe.data.dataset import ReviewDataset
from gavamoe.diagnostics.checks import NO_STAGE_2, run_checks
from gavamoe.diagnostics.clusters import stability
from gavamoe.diagnostics.experts import ExpertFigures
from gavamoe.diagnostics.page import markdown, write_page
from gavamoe.diagnostics.routing import JITTER, changed_share
from gavamoe.errors import DataError
from gavamoe.files import staged_files, write_json
from gavamoe.pipeline.diagnosed_run import ANOTHER_SEED, DiagnosedRun
from gavamoe.pipeline.drift import diagnose_drift
from gavamoe.preference.model import assign_clusters
from gavamoe.run import CATALOG_FILES, PREFERENCE_FILES, RunDirectory, check_outside_parts
from gavamoe.seal import MANIFEST

WRITTEN = ("report.html", "clusters.json", "clusters.md", "drift.md")
DIAGNOSES = ("diagnosis.json", "drift.json")  # a directory with one of them is a diagnosis
CLUSTER_KEYS = ("run", "n", "silhouette", "stability", "seeds", "clusters")  # content of clusters.json


def diagnose_run(
    path: Path,
    out: Path,
    data: Path | None = None,
    seeds: int = 0,
    verify: bool = False,
    on_note: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Diagnose a run, and write diagnosis.json, report.html, clusters.json and clusters.md into `out`.

    Args:
        path: the run; stage 1 is enough.
        out: the directory to write; created if needed.
        data: the prepared dataset, if it has moved. Other data, a prepared dataset or a file of newer reviews, is not
            described but compared with the run's own: `pipeline.drift`.
        seeds: how many more times stage 1 is trained with other seeds, and as often with dropped and with replaced
            ratings, to measure stability.
        verify: whether the checksums of large files of the run are checked too.
        on_note: receives a line when a part starts.

    Returns:
        The content of diagnosis.json (`diagnosis_of`), or of drift.json.

    Raises:
        DataError: the dataset that the run was trained on is not where the run says, or `data` cannot be used.
        RunError: there is no run at `path`, or it lacks stage 1.
    """
    _check_out(out)
    if data is not None:
        run = RunDirectory(path)
        run.require(*PREFERENCE_FILES, *CATALOG_FILES)
        if ReviewDataset.find(data, Catalog.load(run.catalog)) is None:
            if seeds:
                raise DataError(f"--seeds trains stage 1 again on the run's own data, and {data} is other data")
            return diagnose_drift(path, out, data, verify)
    subject = DiagnosedRun.open(path, data, verify)
    diagnosis = diagnosis_of(subject, seeds, on_note)
    with staged_files(out) as staged:
        write_json(staged / "clusters.json", {name: diagnosis[name] for name in CLUSTER_KEYS})
        (staged / "clusters.md").write_text(markdown(diagnosis), encoding="utf-8")
        write_json(staged / "diagnosis.json", diagnosis)
        write_page(staged / "report.html", diagnosis, *subject.mapped_pairs())
    return diagnosis


def _check_out(out: Path) -> None:
    """Raise `DataError` if `out` is a file, or holds files of the same names that are no diagnosis."""
    check_outside_parts(out)
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file, and a diagnosis is a directory; choose another --out")
    foreign = [name for name in (MANIFEST, "run.yaml", "card.json", *WRITTEN) if (out / name).exists()]
    if foreign and not any((out / name).exists() for name in DIAGNOSES):
        raise DataError(f"{out} holds {foreign[0]}, which is of no diagnosis; choose another --out")


def diagnosis_of(
    subject: DiagnosedRun, seeds: int = 0, on_note: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Return the diagnosis of a run: run, n, silhouette, stability, seeds, clusters, comparison, routing, experts,
    texts and checks.

    Args:
        subject: the run and its data.
        seeds: as in `diagnose_run`.
        on_note: receives a line when a part starts.
    """
    on_note("clusters: what each likes and how it writes, beside other clusterings")
    clusters, comparison = subject.describe_clusters(), subject.compare()
    on_note("routing: pairs near a boundary" + (f", {3 * seeds} more trainings of stage 1" if seeds else ""))
    boundary = subject.boundary()
    retrained = subject.retrain(seeds)
    clusters_of = {kind: [assign_clusters(model, subject.train) for model in retrained[kind]] for kind in retrained}
    changes = {kind: [changed_share(subject.cluster_N, each) for each in clusters_of[kind]] for kind in retrained}
    experts: ExpertFigures | str = NO_STAGE_2
    if subject.explainer is not None:
        on_note("experts: specialisation and redundancy on validation texts")
        experts = subject.examine_experts(subject.explainer)
    texts = subject.texts()
    checks = run_checks(comparison, subject.information(), boundary, experts, texts, subject.model.text is not None)
    return {
        "run": str(subject.run.path),
        "n": len(subject.train),
        "silhouette": comparison[0].silhouette,
        "stability": stability([subject.cluster_N, *clusters_of.get(ANOTHER_SEED, [])]),
        "seeds": seeds,
        "clusters": clusters,
        "comparison": [asdict(row) for row in comparison],
        "routing": {
            "boundary": asdict(boundary) if boundary else None,
            "jitter": JITTER,
            "changes": changes,
            "texts": {kind: asdict(change) for kind, change in subject.text_changes(retrained, clusters_of).items()},
        },
        "experts": {"skipped": experts} if isinstance(experts, str) else experts.to_dict(),
        "texts": {"skipped": texts} if isinstance(texts, str) else asdict(texts),
        "checks": [check.to_dict() for check in checks],
    }
