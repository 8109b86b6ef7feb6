"""`gavamoe tune`: search settings by their validation loss."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from gavamoe.cli.options import (
    BaseModel,
    ConfigFile,
    DataArgument,
    Json,
    Preset,
    Settings,
    settings_with_seed,
    training_texts,
)

EXAMPLE = "Example: gavamoe tune data/reviews --out search --trials 20 --limit 5000"


def tune(
    data: DataArgument,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The directory of the search.")],
    trials: Annotated[
        int,
        typer.Option(min=1, help="Trials of each stage; --resume with a larger number goes on with the last stage."),
    ] = 20,
    timeout: Annotated[
        float | None, typer.Option(min=0.01, metavar="MINUTES", help="Stop after so many minutes.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Train each trial on so many reviews, drawn at random; default: all.")
    ] = None,
    stage: Annotated[
        Literal["preference", "all"], typer.Option(help="preference tunes stage 1 alone, and needs no texts.")
    ] = "all",
    preset: Preset = None,
    base_model: BaseModel = None,
    config: ConfigFile = None,
    set_: Settings = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the search and of every trial.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a search.")] = False,
    json: Json = False,
) -> None:
    """Search settings of both stages with Optuna; writes best.yaml for `gavamoe train --config`."""
    from gavamoe.config import AUTO, DEFAULT_PRESET, load_config, preset_with_base

    preset_name = preset_with_base(preset or DEFAULT_PRESET, base_model)
    reviews = min(training_texts(data), limit or sys.maxsize) if preset_name == AUTO else None
    configuration = load_config(preset_name, config, settings_with_seed(set_, seed), reviews)

    from gavamoe.cli.output import emit_json, note
    from gavamoe.experiments.tune import TuneRequest
    from gavamoe.experiments.tune import tune as search
    from gavamoe.experiments.tune_report import train_command

    request = TuneRequest(configuration, preset_name, base_model, stage, trials, timeout, limit)
    results = search(data, out, request, resume, on_note=note)
    if json:
        best = {name: value for result in results for name, value in result.best.items()}
        emit_json({"out": str(out), "best": best, **{result.stage: result.to_dict() for result in results}})
        return
    for result in results:
        started = "" if result.start_loss is None else f" (configured settings: {result.start_loss:.4f})"
        print(f"{result.stage}: validation loss {result.loss:.4f} nats{started}")
        for name, value in result.best.items():
            print(f"  {name}: {value:.4g}")
    print(f"next: {train_command(out, results, data, base_model)}")
