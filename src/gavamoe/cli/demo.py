"""`gavamoe demo`: the whole job on a simulated world, in a few minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gavamoe.cli.main import app

EXAMPLE = "Example: gavamoe demo --out gavamoe-demo"


@app.command(epilog=EXAMPLE)
def demo(
    out: Annotated[Path, typer.Option(help="Directory to write; an earlier demo there is replaced.")] = Path(
        "gavamoe-demo"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another world.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Simulate reviews, train both stages on them, evaluate against trivial baselines, and show what came out."""
    from gavamoe.cli.output import emit_json, metrics_table, note
    from gavamoe.pipeline.demo import run_demo

    result = run_demo(out, seed, on_note=note)
    if json:
        emit_json(result.to_dict())
        return
    metrics_table(result.systems, {"n": result.n, **result.conditions})
    print("\nfive explanations, for pairs the model has not seen")
    for example in result.examples:
        ratings = f"predicted {example['rating']:.1f}, gave {example['true_rating']:g}"
        print(f"  {example['user']} on {example['item']}: {ratings}, cluster {example['cluster']}")
        print(f"    {example['text']}")
    agreement = result.agreement
    print("\nfound clusters against the true groups (adjusted Rand index, 1 is perfect)")
    print(f"  pairs {agreement['pairs']:.3f}, users {agreement['users']:.3f}")
    print(f"\nreport   {result.report}\npicture  {result.picture}")
    print(f"\ntry it in the browser: gavamoe serve {out / 'run'} --open")
