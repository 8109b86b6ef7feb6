"""`gavamoe demo`: simulate, train and evaluate in a few minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gavamoe.cli.options import BaseModel, Json
from gavamoe.errors import printable

EXAMPLE = "Example: gavamoe demo --out gavamoe-demo --base-model smollm2-135m"


def demo(
    out: Annotated[
        Path, typer.Option(help="Directory to write; an earlier demo there is replaced unless it was changed.")
    ] = Path("gavamoe-demo"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulated reviews and of training.")] = 0,
    base_model: BaseModel = None,
    data: Annotated[Path | None, typer.Option(help="File of reviews to use instead of simulated ones.")] = None,
    json: Json = False,
) -> None:
    """Simulate reviews, train both stages on them, evaluate against simple baselines, and show the results."""
    from gavamoe.cli.output import emit_json, metrics_table, note
    from gavamoe.pipeline.demo import run_demo

    result = run_demo(out, seed, note, base_model, data)
    if json:
        emit_json(result.to_dict())
        return
    metrics_table(result.systems, {"n": result.n, **result.conditions})
    print("\nfive explanations for pairs that are not in the training data")
    for example in result.examples:
        ratings = f"predicted {example['rating']:.1f}, gave {example['true_rating']:g}"
        print(printable(f"  {example['user']} on {example['item']}: {ratings}, cluster {example['cluster']}"))
        print(printable(f"    {example['text']}"))
    if agreement := result.agreement:
        print("\nclusters found, compared with the true groups (adjusted Rand index, 1 is perfect)")
        print(f"  pairs {agreement['pairs']:.3f}, users {agreement['users']:.3f}")
    print(f"\nreport   {result.report}\npicture  {result.picture}")
    print(f"\ntry it in the browser: gavamoe serve {out / 'run'} --open")
