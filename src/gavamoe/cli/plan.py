"""`gavamoe plan`: memory, speed and hours of a training around a base, before it is started."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gavamoe.cli.options import ConfigFile, Json, Settings

EXAMPLE = "Example: gavamoe plan --base-model smollm2-135m --gpus 1 --memory 80 --reviews 1000000"


def plan(
    base_model: Annotated[
        str,
        typer.Option(help="The base: smollm2-135m, a directory with config.json, a .gguf file, or a cached hub id."),
    ],
    gpus: Annotated[
        int, typer.Option(min=0, max=10**6, help="Number of GPUs like the H100; 0 plans for CPU cores.")
    ] = 1,
    memory: Annotated[
        float, typer.Option(min=0.1, max=1e6, help="Memory of each GPU (of the machine, without one), in GiB.")
    ] = 80,
    reviews: Annotated[int, typer.Option(min=1, max=10**12, help="Number of training reviews.")] = 100_000,
    cores: Annotated[int, typer.Option(min=1, help="CPU cores; read without a GPU only.")] = 2,
    preset: Annotated[str, typer.Option(help="Named configuration: small, pretrained, tiny or auto.")] = "pretrained",
    config: ConfigFile = None,
    set_: Settings = None,
    json: Json = False,
) -> None:
    """Estimate memory per device, tokens per second and hours of train and explain (docs/scale.md has the formulae)."""
    from gavamoe.config import load_config, preset_with_base

    settings = load_config(preset_with_base(preset, base_model), config, set_)
    from gavamoe.cli.output import emit_json
    from gavamoe.export.plan import model_size
    from gavamoe.export.plan import plan as estimate

    result = estimate(model_size(base_model, settings), settings, gpus, memory, reviews, cores)
    asked = {"base_model": base_model, "gpus": gpus, "memory_gib": memory, "reviews": reviews}
    if json:
        emit_json(asked | result)
    else:
        _print(result, f"{gpus} GPUs of {memory:g} GiB" if gpus else f"{cores} CPU cores and {memory:g} GiB")


def _print(result: dict[str, Any], devices: str) -> None:
    from gavamoe.cli.output import table

    train, explain = result["train"], result["explain"]
    print(
        f"{result['parameters'] / 1e6:,.0f} million parameters, {result['trained'] / 1e6:,.1f} million trained; "
        f"at most {result['tokens_per_review']} tokens a review"
    )
    rows = [
        [
            "train",
            f"{train['memory_per_device_gib']:.1f}",
            f"{train['tokens_per_second']:,.0f}",
            f"{train['hours']:,.2g}",
            f"{train['batch_per_device']} sequences a device",
        ]
    ]
    if train["largest_batch_per_device"] and "GPU" in devices:  # on CPUs, speed does not depend on the batch
        speed, hours = train["tokens_per_second_largest_batch"], train["hours_largest_batch"]
        note = f"{train['largest_batch_per_device']} sequences a device, as many as fit"
        rows.append(["train", "", f"{speed:,.0f}", f"{hours:,.2g}", note])
    speed = f"{explain['tokens_per_second']:,.0f}"
    note = f"{explain['texts_per_second']:,.2g} texts a second; every review once"
    rows.append(["explain", f"{explain['memory_per_device_gib']:.1f}", speed, f"{explain['hours']:,.2g}", note])
    table(["", "GiB a device", "tokens/s", "hours", ""], rows, title=devices)
    if not train["fits"]:
        print(
            f"The training does not fit: weights and optimiser take {train['fixed_gib']:.1f} GiB a device, or "
            f"{train['fixed_sharded_gib']:.1f} sharded by FSDP2. See docs/training.md."
        )
    elif not train["batch_fits"]:
        print("The batch does not fit: raise explainer.accumulation, or set explainer.gradient_checkpointing=true.")
