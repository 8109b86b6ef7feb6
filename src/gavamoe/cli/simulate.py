"""`gavamoe simulate`: simulate reviews whose true clusters are known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gavamoe.cli.options import Json

EXAMPLE = "Example: gavamoe simulate --out world.jsonl.gz --clusters 5"


def simulate(
    out: Annotated[Path, typer.Option(help="File to write: .jsonl, .jsonl.gz, .csv or .parquet.")],
    users: Annotated[int, typer.Option(help="How many users.")] = 400,
    items: Annotated[int, typer.Option(help="How many items.")] = 120,
    reviews: Annotated[int, typer.Option(help="How many reviews.")] = 12_000,
    clusters: Annotated[int, typer.Option(help="How many groups of users with similar taste.")] = 4,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the simulation.")] = 0,
    language: Annotated[str, typer.Option(help="Language of the texts: en, de, zh or ar.")] = "en",
    style: Annotated[
        float,
        typer.Option(min=0, max=1, help="How strongly the groups differ in how they write, 0 (not at all) to 1."),
    ] = 0.0,
    metadata: Annotated[
        Path | None, typer.Option(help="Also write titles, categories and descriptions of the items to this file.")
    ] = None,
    json: Json = False,
) -> None:
    """Simulate reviews by users in groups of similar taste; the column cluster holds the true group."""
    from gavamoe.cli.output import emit_json
    from gavamoe.data.simulate import World, simulate_items
    from gavamoe.data.simulate import simulate as simulate_reviews
    from gavamoe.data.tables import check_replaces, write_table
    from gavamoe.errors import ConfigError

    if metadata is not None and metadata.resolve() == out.resolve():
        raise ConfigError(f"--out and --metadata name the same file, {out}")
    check_replaces(out, ["user", "item", "cluster"], "simulated reviews")
    if metadata is not None:
        check_replaces(metadata, ["item", "title", "categories", "description"], "items")
    world = World(
        users=users, items=items, reviews=reviews, clusters=clusters, seed=seed, language=language, style=style
    )
    frame = simulate_reviews(world)
    write_table(frame, out)
    if metadata is not None:
        write_table(simulate_items(world), metadata)
    if json:
        sizes = {"users": users, "items": items, "reviews": len(frame), "clusters": clusters}
        emit_json({"out": str(out), **sizes, "style": style, "seed": seed})
    else:
        print(f"{out}: {len(frame):,} reviews by {users:,} users in {clusters} groups")
        described = f" --items {metadata}" if metadata is not None else ""
        print(f"next: gavamoe prepare {out}{described} --out DATA")
