"""`gavamoe train`: train on a prepared dataset and write a run directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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

if TYPE_CHECKING:
    from gavamoe.config import RunConfig

EXAMPLE = "Example: gavamoe train data/reviews --out runs/first --set explainer.epochs=4"


def train(
    data: DataArgument,
    out: Annotated[Path, typer.Option(help="The run directory to write.")],
    preset: Preset = None,
    base_model: BaseModel = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that comes with the base model; only if you trust it.")
    ] = False,
    stage: Annotated[
        Literal["preference", "explainer", "all"],
        typer.Option(help="Which stages to train; preference predicts ratings and needs no texts."),
    ] = "all",
    config: ConfigFile = None,
    set_: Settings = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything random.")] = None,
    update: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="Start from this run's weights; DATA is its data with newer reviews appended."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    json: Json = False,
) -> None:
    """Train stage 1 (preferences from ratings) and stage 2 (the explaining language model)."""
    from gavamoe.config import AUTO, DEFAULT_PRESET, changed_config, load_config, preset_with_base
    from gavamoe.run import RunDirectory

    settings, run = settings_with_seed(set_, seed), RunDirectory(out)
    # A stage that is resumed or added keeps the configuration of its run unless other settings are given.
    keep_settings = (resume or stage == "explainer") and preset is None and config is None and not settings
    preset_name = preset_with_base(preset or DEFAULT_PRESET, base_model)
    configuration: RunConfig | None
    if resume and preset is None and not keep_settings and run.card.exists():
        configuration = changed_config(run.read_card().settings, config, settings)
    elif update is not None:
        configuration = _update_settings(update, preset, config, settings)
    else:
        reviews = training_texts(data) if preset_name == AUTO else None
        configuration = None if keep_settings else load_config(preset_name, config, settings, reviews)

    from gavamoe.cli.output import emit_json, note
    from gavamoe.distributed import is_main_process
    from gavamoe.pipeline.train import train_run

    result = train_run(
        data,
        out,
        configuration,
        preset_name,
        base_model,
        stage,
        resume,
        on_note=note,
        trust_remote_code=trust_remote_code,
        update=update,
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
    if run.has_stage_1_alone:
        print(f"      gavamoe recommend {out} --user USER")
        print(f"      gavamoe diagnose {out} --out DIR")


def _update_settings(update: Path, preset: str | None, config: Path | None, settings: list[str]) -> RunConfig | None:
    """Return the settings of an update: those of its source, or of the unfinished update, unless others are given."""
    from gavamoe.errors import ConfigError

    if preset is not None:
        raise ConfigError(f"--update keeps the settings of {update}: leave out --preset; --set changes one setting")
    if config is None and not settings:
        return None

    from gavamoe.pipeline.update import settings_of_update

    return settings_of_update(update, config, settings)
