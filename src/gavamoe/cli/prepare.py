"""`gavamoe prepare`: review files to a prepared dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gavamoe.cli.app import app

EXAMPLE = "Example: gavamoe prepare reviews.jsonl.gz --out data/reviews"


@app.command(epilog=EXAMPLE)
def prepare(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Review files or globs.")],
    out: Annotated[Path, typer.Option(help="Directory to write; a prepared dataset there is replaced.")],
    format: Annotated[str, typer.Option(help="auto, amazon, yelp, tripadvisor, pepler, xrec or table.")] = "auto",
    split: Annotated[str, typer.Option(help="random, temporal or column (as the source gives it).")] = "random",
    seed: Annotated[int, typer.Option(help="Seed of the random split.")] = 0,
    scale: Annotated[str | None, typer.Option(help="Rating scale LOW:HIGH[:STEP] instead of the inferred one.")] = None,
    user_col: Annotated[str | None, typer.Option(help="Column of the user, where the name does not tell.")] = None,
    item_col: Annotated[str | None, typer.Option(help="Column of the item.")] = None,
    rating_col: Annotated[str | None, typer.Option(help="Column of the rating.")] = None,
    text_col: Annotated[str | None, typer.Option(help="Column of the text.")] = None,
    feature_col: Annotated[str | None, typer.Option(help="Column of the feature.")] = None,
    timestamp_col: Annotated[str | None, typer.Option(help="Column of the time.")] = None,
    split_col: Annotated[str | None, typer.Option(help="Column of the split.")] = None,
    columns: Annotated[
        str | None, typer.Option(help="Names of all columns, by commas, for CSV without a header (_ skips one).")
    ] = None,
    skip_bad: Annotated[int, typer.Option(min=0, help="Drop up to N unusable lines instead of stopping.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print the card's main parts as one JSON object.")] = False,
) -> None:
    """Turn reviews of any known shape into a prepared dataset."""
    from gavamoe.cli.output import emit_json
    from gavamoe.data.prepare import PrepareOptions
    from gavamoe.data.prepare import prepare as prepare_dataset
    from gavamoe.data.readers.open import ReadOptions
    from gavamoe.data.scale import RatingScale

    named = {
        "user": user_col,
        "item": item_col,
        "rating": rating_col,
        "text": text_col,
        "feature": feature_col,
        "timestamp": timestamp_col,
        "split": split_col,
    }
    read = ReadOptions(
        format=format,
        columns={column: name for column, name in named.items() if name},
        header=tuple(name.strip() for name in columns.split(",")) if columns else (),
    )
    options = PrepareOptions(
        read=read, split=split, seed=seed, scale=RatingScale.parse(scale) if scale else None, skip_bad=skip_bad
    )
    card = prepare_dataset(sources, out, options)
    if json:
        emit_json({"out": str(out), **card})
    else:
        _show(out, card)


def _show(out: Path, card: dict) -> None:
    counts, scale = card["counts"], card["scale"]
    sizes = ", ".join(f"{name} {size:,}" for name, size in card["splits"]["sizes"].items())
    print(f"{out}: {counts['reviews']:,} reviews by {counts['users']:,} users of {counts['items']:,} items")
    print(f"  ratings   {scale['levels']} levels: {', '.join(f'{value:g}' for value in scale['values'])}")
    print(f"  split     {card['splits']['method']}: {sizes}")
    print(f"  features  {card['features']['count']:,}")
    for source in card["sources"]:
        guessed = ", ".join(f"{column} = {source['columns'][column]}" for column in source["guessed"])
        print(f"  source    {source['name']} ({source['format']}){'; guessed ' + guessed if guessed else ''}")
