"""What `gavamoe tune` writes: best.yaml for `train --config`, trials.csv, and a summary as Markdown and HTML."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import polars as pl
import yaml
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gavamoe.config import RunConfig
from gavamoe.evaluation.plots import COLOURS, STYLE, to_svg
from gavamoe.evaluation.report import render_page
from gavamoe.files import staged_file
from gavamoe.markdown import markdown_table

if TYPE_CHECKING:
    from optuna.study import Study

FAILED = "error"  # attribute of a trial whose settings made training impossible: the message
FEWEST_FOR_IMPORTANCE = 8  # complete trials; the importance of fewer is noise
TITLES = {
    "preference": ("Stage 1", "rating loss on the validation reviews, nats per rating"),
    "explainer": ("Stage 2", "loss of the validation texts, nats per token, rating and feature given"),
}


@dataclass(frozen=True)
class StageResult:
    """The study of one stage.

    Args:
        stage: preference or explainer.
        loss: the lowest validation loss.
        start_loss: that of the first trial, the configured settings; None if it did not complete.
        best: the settings of the best trial, by dotted name.
        number: the number of the best trial.
        trials: complete, pruned and failed trials.
        importance: share of the variance of the loss that each setting explains (fANOVA), largest first; empty with
            few trials.
        history: one row per trial: number, state, loss, seconds, and its settings.
    """

    stage: str
    loss: float
    start_loss: float | None
    best: dict[str, Any]
    number: int
    trials: dict[str, int]
    importance: dict[str, float]
    history: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Return what `gavamoe tune --json` prints of the stage."""
        return {name: value for name, value in asdict(self).items() if name not in ("stage", "history")}


def summarize_study(stage: str, study: Study, seed: int) -> StageResult:
    """Return the result of a study with a complete trial."""
    rows = [_row(stage, trial) for trial in study.trials if trial.state.name not in ("WAITING", "RUNNING")]
    states = [row["state"] for row in rows]
    first = study.trials[0]
    return StageResult(
        stage=stage,
        loss=float(study.best_value),
        start_loss=float(first.value) if first.state.name == "COMPLETE" and first.value is not None else None,
        best=dict(study.best_params),
        number=study.best_trial.number,
        trials={name: states.count(name) for name in ("complete", "pruned", "failed", "interrupted")},
        importance=_importance(study, seed),
        history=rows,
    )


def _row(stage: str, trial: Any) -> dict[str, Any]:
    """Return the row of a trial in trials.csv."""
    state = trial.state.name.lower()
    if state == "fail":
        state = "failed" if FAILED in trial.user_attrs else "interrupted"
    last = trial.intermediate_values[max(trial.intermediate_values)] if trial.intermediate_values else None
    return {
        "stage": stage,
        "trial": trial.number,
        "state": state,
        "loss": trial.value if trial.value is not None and state == "complete" else last,
        "epochs": max(trial.intermediate_values, default=0),
        "seconds": round(trial.duration.total_seconds(), 1) if trial.duration else None,
        "error": trial.user_attrs.get(FAILED),
        **trial.params,
    }


def _importance(study: Study, seed: int) -> dict[str, float]:
    """Return the importance of each setting by fANOVA (Hutter et al. 2014); empty if there are too few trials."""
    import optuna

    complete = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    if len(complete) < FEWEST_FOR_IMPORTANCE or len({trial.value for trial in complete}) == 1:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed % 2**31)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(value) for name, value in found.items()}


def write_results(
    out: Path, config: RunConfig, results: list[StageResult], data: Path, preset: str, base_model: str | None
) -> None:
    """Write best.yaml, trials.csv, tune.md and tune.html.

    Args:
        out: directory of the search.
        config: with the best settings.
        results: of the stages.
        data: the prepared dataset.
        preset: the preset that the search started from.
        base_model: of stage 2; None: from scratch.
    """
    head = f"# Best settings of `gavamoe tune` on {data.name}, from preset {preset}. Use: gavamoe train DATA --config\n"
    _write(out / "best.yaml", head + yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
    rows = [row for result in results for row in result.history]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    frame = pl.DataFrame([{name: row.get(name) for name in columns} for row in rows], infer_schema_length=None)
    with staged_file(out / "trials.csv") as staged:
        frame.write_csv(staged)
    command = train_command(out, results, data, base_model)
    facts = f"Searched on {data.name} from preset {preset}. Train with the best settings: `{command}`."
    sections = [_section(result) for result in results]
    _write(out / "tune.md", markdown(sections, facts))
    _write(out / "tune.html", render_page("gavamoe.experiments", "tune.html", facts=facts, sections=sections))


def train_command(out: Path, results: list[StageResult], data: Path, base_model: str | None) -> str:
    """Return the command that trains a run with the best settings of a search."""
    command = f"gavamoe train {quote(str(data))} --out RUN --config {quote(str(out / 'best.yaml'))}"
    command += f" --base-model {quote(base_model)}" if base_model else ""
    has_texts = any(result.stage == "explainer" for result in results)
    return command if has_texts else f"{command} --stage preference"


def markdown(sections: list[dict[str, Any]], facts: str) -> str:
    """Return the summary as Markdown, without the plots.

    Args:
        sections: of `_section`, one per stage.
        facts: the line below the title.
    """
    parts = ["# Search for settings", facts]
    for section in sections:
        parts += [f"## {section['title']}", section["notes"], markdown_table(["setting", "best"], section["best"])]
        if section["importance"]:
            parts.append(markdown_table(["setting", "importance"], section["importance"]))
        parts.append(markdown_table(section["columns"], section["rows"]))
    return "\n\n".join(parts) + "\n"


def _section(result: StageResult) -> dict[str, Any]:
    """Return what the summary shows of a stage, as text."""
    title, measured = TITLES[result.stage]
    counts = ", ".join(f"{count} {name}" for name, count in result.trials.items() if count)
    gain = "" if result.start_loss is None else f" The configured settings have {result.start_loss:.4f}."
    names = list(result.best)
    best_trials = sorted((r for r in result.history if r["state"] == "complete"), key=lambda row: float(row["loss"]))
    return {
        "title": title,
        "notes": f"Objective: {measured}. Trials: {counts}. Best: trial {result.number} with {result.loss:.4f}.{gain}",
        "best": [[name, _number(value)] for name, value in result.best.items()],
        "importance": [[name, f"{share:.0%}"] for name, share in result.importance.items()],
        "columns": ["trial", "loss", "seconds", *(name.split(".")[1] for name in names)],
        "rows": [
            [str(r["trial"]), f"{r['loss']:.4f}", _number(r["seconds"]), *(_number(r.get(name)) for name in names)]
            for r in best_trials[:10]
        ],
        "plot": to_svg(history_plot(result)),
    }


@rc_context(STYLE)
def history_plot(result: StageResult) -> Figure:
    """Draw the loss of each trial, the best so far, and the importance of the settings."""
    panels = 2 if result.importance else 1
    figure = Figure(figsize=(4.4 * panels, 3.2), layout="constrained")
    history, *others = figure.subplots(1, panels, squeeze=False)[0]
    for place, state in enumerate(("complete", "pruned")):
        rows = [row for row in result.history if row["state"] == state and row["loss"] is not None]
        history.scatter(
            [row["trial"] for row in rows], [row["loss"] for row in rows], s=18, color=COLOURS[place], label=state
        )
    complete = [row for row in result.history if row["state"] == "complete"]
    best = [min(row["loss"] for row in complete[: n + 1]) for n in range(len(complete))]
    history.step([row["trial"] for row in complete], best, where="post", color=COLOURS[0], linewidth=1.2, label="best")
    history.set(title="History", xlabel="trial", ylabel="validation loss, nats")
    history.xaxis.set_major_locator(MaxNLocator(integer=True))
    history.legend()
    for axes in others:
        names = list(result.importance)[::-1]
        axes.barh([name.split(".")[1] for name in names], [result.importance[n] for n in names], color=COLOURS[0])
        axes.set(title="Importance", xlabel="share of the variance of the loss")
    return figure


def _number(value: Any) -> str:
    return "–" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _write(path: Path, text: str) -> None:
    with staged_file(path) as staged:
        staged.write_text(text, encoding="utf-8")
