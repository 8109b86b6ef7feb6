"""`gavamoe train`: a prepared dataset to a run directory."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gavamoe.cli.main import app

DEFAULT_PRESET = "small"
EXAMPLE = "Example: gavamoe train data/reviews --out runs/first --set explainer.epochs=4"


class Stage(StrEnum):
    """Which stages to train."""

    preference = "preference"
    explainer = "explainer"
    all = "all"


@app.command(epilog=EXAMPLE)
def train(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A dataset made by `gavamoe prepare`.")],
    out: Annotated[Path, typer.Option(help="The run directory to write.")],
    preset: Annotated[
        str | None, typer.Option(help="Named configuration: small (the default), or tiny for a quick look.")
    ] = None,
    base_model: Annotated[
        str | None, typer.Option(help="Hub id or directory of a causal LM to train beside, instead of from scratch.")
    ] = None,
    stage: Annotated[Stage, typer.Option(help="Which stages to train.")] = Stage.all,
    config: Annotated[Path | None, typer.Option(help="YAML with settings that go over the preset.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting, like explainer.experts=16.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything random.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Train stage 1 (taste from ratings) and stage 2 (the explaining language model)."""
    from gavamoe.config import load_config

    settings = [*(set_ or []), *([f"seed={seed}"] if seed is not None else [])]
    # A stage that is added, as one that is resumed, is configured as the run is where nothing else is asked for.
    as_begun = (resume or stage == Stage.explainer) and preset is None and config is None and not settings
    configuration = None if as_begun else load_config(preset or DEFAULT_PRESET, config, settings)

    from gavamoe.cli.output import emit_json, note
    from gavamoe.distributed import is_main_process
    from gavamoe.pipeline.train import train_run

    result = train_run(
        data, out, configuration, preset or DEFAULT_PRESET, base_model, stage.value, resume, on_note=note
    )
    if not is_main_process():
        return
    if json:
        emit_json(result)
        return
    if "preference" in result:
        figures = result["preference"]
        print(f"stage 1: validation RMSE {figures['valid_rmse']:.3f} levels, {figures['live_clusters']} live clusters")
    if "explainer" in result:
        loss = result["explainer"]["valid_loss"]
        print(f"stage 2: validation loss {loss:.3f} nats a token, rating and feature given")
    print(f"next: gavamoe evaluate {out}")
