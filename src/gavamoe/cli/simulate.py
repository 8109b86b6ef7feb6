"""`gavamoe simulate`: reviews from a world whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gavamoe.cli.main import app

EXAMPLE = "Example: gavamoe simulate --out world.jsonl.gz --clusters 5"


@app.command(epilog=EXAMPLE)
def simulate(
    out: Annotated[Path, typer.Option(help="File to write: .jsonl, .jsonl.gz, .csv or .parquet.")],
    users: Annotated[int, typer.Option(help="How many users.")] = 400,
    items: Annotated[int, typer.Option(help="How many items.")] = 120,
    reviews: Annotated[int, typer.Option(help="How many reviews.")] = 12_000,
    clusters: Annotated[int, typer.Option(help="How many groups of taste.")] = 4,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Another seed is another world.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Draw a small world of reviews: users with tastes in groups, items with aspects; column cluster is the truth."""
    from gavamoe.cli.output import emit_json
    from gavamoe.data.simulate import World
    from gavamoe.data.simulate import simulate as draw
    from gavamoe.data.tables import write_table

    world = World(users=users, items=items, reviews=reviews, clusters=clusters, seed=seed)
    frame = draw(world)
    write_table(frame, out)
    if json:
        emit_json(
            {"out": str(out), "users": users, "items": items, "reviews": len(frame), "clusters": clusters, "seed": seed}
        )
    else:
        print(f"{out}: {len(frame):,} reviews by {users:,} users in {clusters} groups")
        print(f"next: gavamoe prepare {out} --out DATA")
