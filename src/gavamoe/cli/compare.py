"""`gavamoe compare`: train and evaluate several systems on the same terms."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gavamoe.cli.options import DataArgument, Json, Preset, training_texts

if TYPE_CHECKING:
    from gavamoe.experiments.aggregate import Table

EXAMPLE = "Example: gavamoe compare data/reviews --out table --models gavamoe,peter,nrt --seeds 3"
IN_TERMINAL = {"RMSE", "MAE", "BLEU-1", "BLEU-4", "rouge_1/f_score", "rouge_l/f_score", "USR", "FMR", "FCR"}


def compare(
    data: DataArgument,
    out: Annotated[Path, typer.Option(help="The directory of the comparison.")],
    models: Annotated[
        str | None,
        typer.Option(help="Systems by name, or your own as FILE.py:CLASS or MODULE:CLASS, separated by commas."),
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Number of seeds; 3 unless --config says otherwise.")] = None,
    split: Annotated[str, typer.Option(help="The split to report; choose settings on valid, read test at the end.")] = (
        "test"
    ),
    config: Annotated[Path | None, typer.Option(help="A YAML file as in configs/compare/.")] = None,
    preset: Preset = None,
    base_model: Annotated[
        str | None,
        typer.Option(
            help="LM that gavamoe, its ablations, lora, pepler, pepler-d, xrec, zero-shot and few-shot start from: "
            "smollm2-135m, a hub id, a directory or a .gguf file."
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Evaluate on this many reviews of the split, drawn at random.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting, for all systems.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue; finished trials are kept.")] = False,
    json: Json = False,
) -> None:
    """Train and evaluate systems on the same terms, several seeds each; writes results.csv, .md, .tex, .html."""
    from gavamoe.config import parse_setting
    from gavamoe.experiments.config import load_compare_config

    given: dict[str, Any] = {"seeds": seeds, "preset": preset, "base_model": base_model, "limit": limit}
    given["models"] = tuple(name.strip() for name in models.split(",") if name.strip()) if models is not None else None
    given["settings"] = dict(map(parse_setting, set_)) if set_ else None
    compare_config = load_compare_config(config, reviews=partial(training_texts, data), **given)

    from gavamoe.cli.output import emit_json, note
    from gavamoe.experiments.aggregate import to_dict
    from gavamoe.experiments.compare import run

    tables = run(data, out, compare_config, split, resume, on_note=note)
    if json:
        emit_json(to_dict(tables, out))
    else:
        for table in tables:
            _show(table)
        print(f"results: {out / 'results.html'}, .md, .tex, .csv")


def _show(comparison: Table) -> None:
    """Print the metrics that fit a terminal; the files have all of them."""
    from gavamoe.cli.output import table
    from gavamoe.evaluation.report import LABELS, SHOWN
    from gavamoe.experiments.grids import ABSENT, title_of

    print(title_of(comparison))
    print(
        f"Split {comparison.split}, n = {comparison.n:,}; means over the seeds. "
        "Spread, tests and all metrics: in the files."
    )
    known = {name for result in comparison.results for name in result.metrics}
    metrics = {name: decimals for name, decimals in SHOWN.items() if name in IN_TERMINAL & known}
    rows = []
    for result in comparison.results:
        summaries = [(result.metrics.get(metric), decimals) for metric, decimals in metrics.items()]
        rows.append([result.model, *(ABSENT if found is None else f"{found.mean:.{d}f}" for found, d in summaries)])
    table(["model", *(LABELS.get(metric, metric) for metric in metrics)], rows)
    print()
