"""`gavamoe prepare`: turn review files into a prepared dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gavamoe.cli.options import Encoding, Records

if TYPE_CHECKING:
    from gavamoe.data.prepare.pipeline import PrepareEngine

EXAMPLE = "Example: gavamoe prepare reviews.jsonl.gz --out data/reviews --split temporal"


def prepare(
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE...", help="Files or globs of reviews (and of items).")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Directory to write; an unchanged prepared dataset there is replaced.")
    ] = None,
    format: Annotated[str, typer.Option(help="auto, amazon, yelp, tripadvisor, pepler, xrec or table.")] = "auto",
    items: Annotated[list[Path] | None, typer.Option(help="Item metadata; default: a file beside the reviews.")] = None,
    split: Annotated[str, typer.Option(help="random, temporal or column (as the source gives it).")] = "random",
    index: Annotated[Path | None, typer.Option(help="Directory of a PEPLER split, used with --split column.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the random split.")] = 0,
    features: Annotated[str, typer.Option(help="auto, column (as the source gives it) or off.")] = "auto",
    scale: Annotated[str | None, typer.Option(help="Rating scale LOW:HIGH[:STEP] instead of the inferred one.")] = None,
    k_core: Annotated[int, typer.Option(min=0, help="Keep users and items with at least N reviews.")] = 0,
    min_words: Annotated[int, typer.Option(min=0, help="Drop reviews of fewer than N words.")] = 0,
    language: Annotated[str | None, typer.Option(help="Keep texts in this language, such as en.")] = None,
    user_col: Annotated[
        str | None,
        typer.Option(help="Column of the user, if its name is not recognised; none: each review has its own reviewer."),
    ] = None,
    item_col: Annotated[str | None, typer.Option(help="Column of the item.")] = None,
    item_from_file: Annotated[
        bool, typer.Option("--item-from-file", help="Each file has the reviews of one item, which its name names.")
    ] = False,
    rating_col: Annotated[str | None, typer.Option(help="Column of the rating.")] = None,
    text_col: Annotated[str | None, typer.Option(help="Column of the text; none: ratings without texts.")] = None,
    feature_col: Annotated[str | None, typer.Option(help="Column of the feature.")] = None,
    timestamp_col: Annotated[str | None, typer.Option(help="Column of the time.")] = None,
    split_col: Annotated[str | None, typer.Option(help="Column of the split.")] = None,
    columns: Annotated[
        str | None, typer.Option(help="Names of all columns, by commas, for CSV without a header (_ skips one).")
    ] = None,
    encoding: Encoding = None,
    records: Records = None,
    item_columns: Annotated[
        str | None, typer.Option(help="Columns of item files, such as item=sku,title=label,categories=kind.")
    ] = None,
    ratings: Annotated[
        str | None, typer.Option(help="What written ratings are worth, such as A=5,B+=4.5.", metavar="WORD=NUMBER,...")
    ] = None,
    unrated: Annotated[
        list[float] | None, typer.Option(help="Rating that stands for not rated, such as 0: drop these reviews.")
    ] = None,
    anonymous: Annotated[
        list[str] | None, typer.Option(help="Name that stands for nobody, beside those that are known.")
    ] = None,
    time_format: Annotated[
        str | None,
        typer.Option(help="How times are written: day-first, month-first, years, ... or a pattern such as %d/%m/%y."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing; print how each column is understood, and three rows.")
    ] = False,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="ray reads and annotates on the cluster of RAY_ADDRESS, or on all processors here."),
    ] = "local",
    skip_bad: Annotated[int, typer.Option(min=0, help="Drop up to N unusable lines instead of stopping.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print the card's main parts as one JSON object.")] = False,
) -> None:
    """Turn reviews of any known format into a prepared dataset."""
    from gavamoe.cli.output import emit_json
    from gavamoe.data.items import parse_item_columns
    from gavamoe.data.prepare import PrepareOptions
    from gavamoe.data.prepare import prepare as prepare_dataset
    from gavamoe.data.prepare.dry_run import preview
    from gavamoe.data.readers.canonical import ReadRules
    from gavamoe.data.readers.open import ReadOptions
    from gavamoe.data.readers.ratings import RatingMap
    from gavamoe.data.scale import RatingScale
    from gavamoe.errors import InputError

    if out is None and not dry_run:
        raise InputError("prepare needs --out DIR, the directory to write; or --dry-run, which writes nothing")
    if item_col and item_from_file:
        raise InputError("--item-col and --item-from-file exclude each other: give one")
    if dry_run and engine != "local":
        raise InputError("--dry-run reads the beginning of each file here: leave --engine out, or --dry-run")
    if item_columns and not items:
        raise InputError("--item-columns names the columns of a file given with --items: give it too")

    named = {
        "user": user_col,
        "item": item_col,
        "rating": rating_col,
        "text": text_col,
        "feature": feature_col,
        "timestamp": timestamp_col,
        "split": split_col,
    }
    options = PrepareOptions(
        read=ReadOptions(
            format=format,
            columns={column: name for column, name in named.items() if name},
            header=tuple(name.strip() for name in columns.split(",")) if columns else (),
            index=index,
            encoding=encoding,
            records=records,
            item_from_file=item_from_file,
            rules=ReadRules(
                ratings=RatingMap.parse(ratings).worth if ratings else {},
                unrated=tuple(unrated or ()),
                anonymous=tuple(anonymous or ()),
                time_format=time_format or "",
            ),
        ),
        items=tuple(items or ()),
        split=split,
        seed=seed,
        scale=RatingScale.parse(scale) if scale else None,
        features=features,
        k_core=k_core,
        min_words=min_words,
        language=language,
        skip_bad=skip_bad,
        item_columns=parse_item_columns(item_columns) if item_columns else {},
    )
    if dry_run:
        with _progress() as on_rows:
            shown = preview(sources, options, out or "DATA", on_rows)
        emit_json(shown) if json else _show_preview(shown)
        return
    assert out is not None
    with _progress() as on_rows, _engine(engine) as where:
        card = prepare_dataset(sources, out, options, on_rows, where)
    if json:
        emit_json({"out": str(out), **_main_parts(card)})
    else:
        _show(out, card)


def _engine(name: str) -> AbstractContextManager[PrepareEngine | None]:
    """Return what is open while an engine works."""
    if name == "local":
        return nullcontext()
    from gavamoe.data.prepare.ray_engine import on_ray

    return on_ray()


@contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    """Count the rows read on stderr; print nothing if stderr is not a terminal."""
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("reading {task.completed:,.0f} reviews"), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("read", total=None)
        yield lambda rows: progress.advance(task, rows)


def _main_parts(card: dict[str, Any]) -> dict[str, Any]:
    """Return the card without the extractor's word lists, which only programs that load the dataset need."""
    features = {name: value for name, value in card["features"].items() if name != "extractor"}
    return {**card, "features": features}


def _show(out: Path, card: dict[str, Any]) -> None:
    """Print the card's main parts for a reader."""
    counts, scale, features = card["counts"], card["scale"], card["features"]
    sizes = ", ".join(f"{name} {size:,}" for name, size in card["splits"]["sizes"].items())
    print(f"{out}: {counts['reviews']:,} reviews by {counts['users']:,} users of {counts['items']:,} items")
    for source in card["sources"]:
        guessed = ", ".join(f"{column} = {source['columns'][column]}" for column in source["guessed"])
        print(f"  source    {source['name']} ({source['format']}){'; guessed ' + guessed if guessed else ''}")
        for said in source["reading"]["said"]:
            print(f"            {said}")
    for name, count in {**card["reading"], **card["filters"]["dropped"]}.items():
        if name not in ("rows", "bad line examples", "rules") and count:
            print(f"  {name}: {count:,}")
    for column, note in card.get("notes", {}).items():
        print(f"  {column:<9} {note}")
    print(f"  ratings   {scale['levels']} levels: {', '.join(f'{value:g}' for value in scale['values'])}")
    print(f"  split     {card['splits']['method']}: {sizes}")
    if features.get("note"):
        print(f"  features  {features['count']:,}: {features['note']}")
    else:
        print(f"  features  {features['count']:,} ({features['method']}), in {counts['with_feature']:,} reviews")
    files = ", ".join(source["name"] for source in card["items"]["sources"])
    print(f"  items     {card['items']['described']:,} described{' by ' + files if files else ''}")
    if described := card["items"].get("with"):
        print("            with " + ", ".join(f"{name} {count:,}" for name, count in described.items()))
    if card["splits"]["method"] != "column" and any("split" in source["columns"] for source in card["sources"]):
        print("  the source gives a split: --split column uses it")
    for warning in card.get("warnings", ()):
        print(f"  warning: {warning}")
    if not card["splits"]["sizes"]["valid"]:
        print("  warning: no review is for validation, which training needs; prepare more reviews of the same users")
        return
    _show_next(out, counts["with_text"])


def _show_next(out: Path, texts: int) -> None:
    """Print the commands that lead on from a prepared dataset; without texts, those that need none."""
    if texts:
        print(f"next: gavamoe train {out} --out RUN")
        return
    from gavamoe.experiments.config import RATING_MODELS

    print("ratings without texts: stage 1 can be trained, which predicts ratings; stage 2, which writes, cannot")
    print(f"next: gavamoe train {out} --out RUN --stage preference")
    print(f"      gavamoe compare {out} --out DIR --models {','.join(RATING_MODELS)}")


def _show_preview(shown: dict[str, Any]) -> None:
    """Print how a source is understood: its columns, sample rows and the command."""
    for source in shown["sources"]:
        print(f"{source['name']} ({source['format']})")
        for said in source["reading"]["said"]:
            print(f"  {said}")
        for column, about in source["columns"].items():
            name = about["column"] or "-"
            said = [] if about["column"] is None else ["guessed"] if about["guessed"] else []
            said += [f"{about['share']:.1%} understood"] if "share" in about else []
            said += [about["how"]] if about.get("how") else []
            print(f"  {column:<9} = {name}{'; ' + ', '.join(said) if said else ''}")
    part = "" if shown["complete"] else " (the first of each file)"
    print(f"  {shown['rows']:,} reviews{part}; {shown['bad lines']:,} lines cannot be used")
    for example in shown["bad line examples"]:
        print(f"    {example}")
    scale = shown["scale"]
    print(f"  ratings   {scale['levels']} levels: {', '.join(f'{value:g}' for value in scale['values'])}")
    for column, note in shown["notes"].items():
        print(f"  {column:<9} {note}")
    for warning in shown["warnings"]:
        print(f"  warning: {warning}")
    for number, row in enumerate(shown["sample"], start=1):
        print(f"  row {number}: " + "; ".join(f"{name} {str(value)[:60]!r}" for name, value in row.items()))
    print(f"nothing was written; to prepare: {shown['command']}")
