"""`gavamoe diagnose RUN --data NEWER`: drift between the data of a run and newer reviews, as checks and as files.

newer reviews - reviews of the run's own data -> checks (`diagnostics.drift`), windows in time -> drift.json, drift.md
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gavamoe.conditions import Condition
from gavamoe.data.catalog import Catalog
from gavamoe.data.dataset import HAS_TEXT, ReviewDataset, id_arrays
from gavamoe.data.readers.open import read_reviews
from gavamoe.data.tables import sample_rows
from gavamoe.diagnostics.drift import (
    RULES,
    DriftCheck,
    check_cold_share,
    check_moved_users,
    check_ratio,
    check_shift,
    onset,
    skipped,
)
from gavamoe.errors import DataError, RunError
from gavamoe.explainer.explainer import Explainer
from gavamoe.files import staged_files, write_json
from gavamoe.markdown import markdown_table
from gavamoe.pipeline.run_data import find_dataset
from gavamoe.preference.recommender import Recommender
from gavamoe.run import EXPLAINER_FILES, RunDirectory

MOST_ROWS = 200_000  # newer rows, and rows of the run, that are compared; of more, a random sample
MOST_TEXTS, TEXT_GROUPS = 256, 32  # texts whose loss is computed, and the groups that are resampled
_REVIEW = ["user", "item", "level"]  # what tells reviews apart; names, because unknown users and items have one id
MIN_ROWS = 20  # fewer rows say nothing
WINDOWS, ROWS_PER_WINDOW = 8, 100  # windows in time, and the fewest rows in one


@dataclass(frozen=True)
class OwnData:
    """What the newer reviews are compared with.

    Args:
        train: training interactions of the run: user_id, item_id, level.
        valid: the run's validation reviews; None if its data is gone.
        everything: user, item and level of all reviews of its data, to tell which reviews are newer; of the training
            interactions if it is gone.
        loss, rmse: of stage 1 on the validation reviews: nats per rating, and levels.
    """

    train: pl.DataFrame
    valid: pl.DataFrame | None
    everything: pl.DataFrame
    loss: float
    rmse: float


def diagnose_drift(path: Path, out: Path, data: Path, verify: bool = False) -> dict[str, Any]:
    """Compare newer reviews with the data of a run, and write drift.json and drift.md into `out`.

    Args:
        path: the run.
        out: the directory to write; created if needed.
        data: a prepared dataset or a reviews file; reviews that the run's own data has are left out.
        verify: whether the checksums of large files of the run are checked too.

    Returns:
        The content of drift.json: run, data, n, known, checks, windows and onset.

    Raises:
        RunError: there is no run at `path`, or it lacks stage 1 or the records of its training.
        DataError: the data cannot be read, has another rating scale, or has too few newer reviews.
    """
    result = drift_checks(RunDirectory(path), data, verify)
    with staged_files(out) as staged:
        write_json(staged / "drift.json", result)
        (staged / "drift.md").write_text(drift_markdown(result), encoding="utf-8")
    return result


def drift_checks(run: RunDirectory, data: Path, verify: bool = False) -> dict[str, Any]:
    """Return the checks of `diagnose_drift` as JSON values, without writing them."""
    recommender = Recommender.from_pretrained(run.path, verify=verify)
    own = _own_data(run, recommender.catalog)
    newer, left_out = _newer_reviews(recommender.catalog, own, data)
    checks = [*_rating_checks(recommender, own, newer), _text_check(run, own, newer)]
    windows = _windows(recommender, newer, own)
    limit = RULES["rating_error"].warn
    return {
        "run": str(run.path),
        "data": str(data),
        "n": len(newer),
        "left_out": left_out,
        "checks": [check.to_dict() for check in checks],
        "windows": windows,
        "onset": onset([w["from"] for w in windows], [w["error"] for w in windows], limit),
    }


def _own_data(run: RunDirectory, catalog: Catalog) -> OwnData:
    """Return what the run's directory, and its data if it is still there, say of the time before.

    Raises:
        RunError: the run lacks the records of its training.
    """
    records = run.read_training().get("preference")
    if not records:
        raise RunError(
            f"{run.path} has no records of its training ({run.training.name}), which newer reviews are compared with, "
            "because export, save_pretrained and push_to_hub leave them out; diagnose the run that was trained"
        )
    record = records[-1]
    figures = float(record["valid_nll"]), float(record["valid_rmse"])
    own = find_dataset(run, catalog)
    if own is not None:
        rows = own.interactions()
        return OwnData(catalog.history, rows.filter(pl.col("split") == "valid"), rows.select(_REVIEW), *figures)
    user, item = (np.array(names, dtype=object) for names in (catalog.user_names, catalog.item_names))
    user_id, item_id = id_arrays(catalog.history)
    known = catalog.history.select("level", user=pl.Series(user[user_id]), item=pl.Series(item[item_id]))
    return OwnData(catalog.history, None, known, *figures)


def _newer_reviews(catalog: Catalog, own: OwnData, data: Path) -> tuple[pl.DataFrame, int]:
    """Return the reviews of `data`, encoded with the run's catalog, that its own data lacks; and how many it has."""
    if data.is_dir():
        frame = ReviewDataset.load(data).interactions().drop("user_id", "item_id", "level")
    else:
        frame = read_reviews(data, None, lambda source, reading: None, catalog.prepared)
    try:
        encoded = catalog.encode(frame)
    except DataError as error:
        raise DataError(f"{data}, {error}, the scale this run was trained on") from None
    known = own.everything.with_columns(pl.col("level").cast(encoded.schema["level"]))
    newer = encoded.join(known, on=_REVIEW, how="anti")
    if len(newer) < MIN_ROWS:
        raise DataError(
            f"{data} has {len(newer)} reviews that the run's own data lacks; drift needs {MIN_ROWS} newer reviews"
        )
    if "feature" not in newer.columns:
        newer = newer.with_columns(feature=pl.lit(None, pl.String))
    return sample_rows(newer, MOST_ROWS), len(encoded) - len(newer)


def _rating_checks(recommender: Recommender, own: OwnData, newer: pl.DataFrame) -> list[DriftCheck]:
    """Return the checks that need stage 1 alone."""
    catalog, levels = recommender.catalog, recommender.catalog.scale.levels
    reference = sample_rows(own.valid if own.valid is not None else own.train, MOST_ROWS)
    known, own_known = newer.filter(_KNOWN_USER), reference.filter(_KNOWN_USER)
    checks = [
        check_cold_share(f"cold_{side}s", newer[f"{side}_id"].to_numpy() == 0, _cold_share(own.valid, f"{side}_id"))
        for side in ("user", "item")
    ]
    if known.is_empty() or own_known.is_empty():
        empty = "newer" if known.is_empty() else "validation"
        checks.append(skipped("cluster_mix", f"no {empty} review is by a known user"))
    else:
        own_gamma, gamma = (recommender.responsibilities(*id_arrays(rows)) for rows in (own_known, known))
        own_user, user = (id_arrays(rows)[0] for rows in (own_known, known))
        checks.append(check_shift("cluster_mix", own_gamma, gamma, own_user, user))
    if known.is_empty():
        checks.append(skipped("moved_users", "no newer review is by a known user"))
    else:
        checks.append(check_moved_users(recommender.preference, _ratings(catalog.history), _ratings(newer)))
    own_level, level = (np.eye(levels)[rows["level"].to_numpy().astype(int) - 1] for rows in (reference, newer))
    own_user, user = (id_arrays(rows)[0] for rows in (reference, newer))
    checks.append(check_shift("rating_distribution", own_level, level, own_user, user))
    both = newer.filter(_KNOWN_USER & _KNOWN_ITEM)
    if both.is_empty():
        checks.append(skipped("rating_loss", "no newer review is by a known user of a known item"))
    else:
        checks.append(_ratio(recommender, "rating_loss", both, own, own.loss))
    return [*checks, _ratio(recommender, "rating_error", newer, own, own.rmse**2)]


_KNOWN_USER, _KNOWN_ITEM = pl.col("user_id") > 0, pl.col("item_id") > 0


def _cold_share(valid: pl.DataFrame | None, column: str) -> float:
    return 0.0 if valid is None or valid.is_empty() else float((valid[column] == 0).mean())  # type: ignore[arg-type]


def _ratings(rows: pl.DataFrame) -> np.ndarray:
    return rows.select(pl.col("user_id", "item_id", "level").cast(pl.Int64)).to_numpy()


def _ratio(recommender: Recommender, name: str, newer: pl.DataFrame, own: OwnData, mean: float) -> DriftCheck:
    """Return the check of stage 1's loss or squared error against the run's validation figure."""
    valid = own.valid
    if valid is not None and name == "rating_loss":
        valid = valid.filter(_KNOWN_USER & _KNOWN_ITEM)
    has_valid = valid is not None and not valid.is_empty()
    own_loss = _losses(recommender, valid, name) if valid is not None and has_valid else None
    return check_ratio(
        name,
        _losses(recommender, newer, name),
        id_arrays(newer)[0],
        own_loss,
        id_arrays(valid)[0] if valid is not None and has_valid else None,
        mean if own_loss is None else float(own_loss.mean()),
        root=name == "rating_error",
    )


def _losses(recommender: Recommender, rows: pl.DataFrame, name: str) -> np.ndarray:
    """Return -log p(r) of each row in nats, or its squared error in levels, [N]."""
    p_NR, level_N = recommender.rating_distributions(*id_arrays(rows)), rows["level"].to_numpy().astype(int)
    if name == "rating_loss":
        loss: np.ndarray = -np.log(np.maximum(p_NR[np.arange(len(rows)), level_N - 1], 1e-12))
        return loss
    error: np.ndarray = (p_NR @ np.arange(1, p_NR.shape[1] + 1) - level_N) ** 2
    return error


def _text_check(run: RunDirectory, own: OwnData, newer: pl.DataFrame) -> DriftCheck:
    """Return the check of stage 2's loss on a sample of the texts."""
    if not run.has(EXPLAINER_FILES):
        return skipped("text_loss", "the run has no stage 2")
    if "text" not in newer.columns or newer.filter(HAS_TEXT).is_empty():
        return skipped("text_loss", "the newer reviews have no texts")
    if own.valid is None:
        return skipped(
            "text_loss", "the data that the run was trained on is not where the run says, and its texts are needed"
        )
    explainer = Explainer.from_pretrained(run.path)
    both = [rows.filter(HAS_TEXT) for rows in (newer, own.valid)]
    # Under different conditions the losses could not be compared.
    condition = Condition("given", "given" if all(rows["feature"].count() for rows in both) else "none")
    losses = [_text_losses(explainer, rows, condition) for rows in both]
    groups = [np.arange(1, len(loss) + 1) for loss in losses]
    return check_ratio("text_loss", losses[0], groups[0], losses[1], groups[1], float(losses[1].mean()))


def _text_losses(explainer: Explainer, reviews: pl.DataFrame, condition: Condition) -> np.ndarray:
    """Return the loss in nats per token of groups of texts, [G]."""
    if len(reviews) > MOST_TEXTS:
        reviews = reviews.sample(MOST_TEXTS, seed=0)
    losses = explainer.text_losses(reviews, reviews["text"].to_list(), condition)
    size = max(1, len(reviews) // TEXT_GROUPS)
    groups = len(reviews) // size
    nats_G, tokens_G = (values[: groups * size].reshape(groups, size).sum(1) for values in losses)
    mean_G: np.ndarray = nats_G / tokens_G
    return mean_G


def _windows(recommender: Recommender, newer: pl.DataFrame, own: OwnData) -> list[dict[str, Any]]:
    """Return figures of windows in time with equally many reviews, oldest first; none without times, or of few."""
    if "timestamp" not in newer.columns or newer["timestamp"].null_count():
        return []
    ordered, count = newer.sort("timestamp"), min(WINDOWS, len(newer) // ROWS_PER_WINDOW)
    if not count:
        return []
    rmse = own.rmse
    if own.valid is not None:
        rmse = float(np.sqrt(_losses(recommender, own.valid, "rating_error").mean()))
    windows = []
    for rows in (ordered[index] for index in np.array_split(np.arange(len(ordered)), count)):
        windows.append(
            {
                "from": _date(rows["timestamp"][0]),
                "to": _date(rows["timestamp"][-1]),
                "n": len(rows),
                "cold_users": _cold_share(rows, "user_id"),
                "cold_items": _cold_share(rows, "item_id"),
                "error": float(np.sqrt(_losses(recommender, rows, "rating_error").mean())) / max(rmse, 1e-9),
            }
        )
    return windows


def _date(timestamp: Any) -> str:
    """Return the day of a time in seconds."""
    return str(np.datetime64(int(timestamp), "s").astype("datetime64[D]"))


def drift_markdown(result: dict[str, Any]) -> str:
    """Return the content of drift.md: the checks, what to do, and the windows in time."""
    left_out = f"; {result['left_out']:,} reviews of the run's own data are left out" if result["left_out"] else ""
    parts = [
        f"# Drift of {result['data']} against {result['run']}",
        f"{result['n']:,} newer reviews{left_out}.",
        markdown_table(
            ["check", "status", "value", "own", "95 %", "fails from", "measures"], map(_row, result["checks"])
        ),
    ]
    advice = list(dict.fromkeys(c["advice"] for c in result["checks"] if c["status"] in ("warn", "fail")))
    parts.append("What to do: " + "; ".join(advice) + "." if advice else "Nothing to do: no check warns or fails.")
    if result["windows"]:
        columns = ["from", "to", "reviews", "unknown users", "unknown items", "RMSE, of the run's own"]
        rows = (
            [w["from"], w["to"], f"{w['n']:,}", f"{w['cold_users']:.0%}", f"{w['cold_items']:.0%}", f"{w['error']:.2f}"]
            for w in result["windows"]
        )
        parts.append(markdown_table(columns, rows))
    if result["onset"]:
        parts.append(f"The error is above its limit in every window from {result['onset']} on.")
    return "\n\n".join(parts) + "\n"


def _row(check: dict[str, Any]) -> list[str]:
    if check["value"] is None:
        return [
            check["name"],
            f"skipped: {check['advice']}",
            "–",
            "–",
            "–",
            f"{check['threshold']:g}",
            check["measures"],
        ]
    own = "–" if check["reference"] is None else f"{check['reference']:.3f}"
    interval = "–" if check["interval"] is None else "{:.3f} to {:.3f}".format(*check["interval"])
    numbers = [f"{check['value']:.3f}", own, interval, f"{check['threshold']:g}"]
    return [check["name"], check["status"], *numbers, check["measures"]]
