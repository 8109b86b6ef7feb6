"""`gavamoe recommend`: the items with the highest predicted ratings for a user."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gavamoe.cli.options import Encoding, History, Json, Records, RunArgument, Verify, refuse_reading

if TYPE_CHECKING:
    from gavamoe.explainer.explainer import Explainer

EXAMPLE = "Example: gavamoe recommend runs/first --user u17 --top 5 --explain"


def recommend(
    run: RunArgument,
    user: Annotated[str | None, typer.Option(help="The user's name in the reviews.")] = None,
    history: History = None,
    top: Annotated[int, typer.Option(min=1, help="How many items.")] = 10,
    explain: Annotated[bool, typer.Option("--explain", help="Write an explanation for each item.")] = False,
    encoding: Encoding = None,
    records: Records = None,
    verify: Verify = False,
    json: Json = False,
) -> None:
    """List the items with the highest predicted ratings, without those of the user's training reviews or history."""
    from gavamoe.errors import InputError

    if user is None and history is None:
        raise InputError("recommend needs --user, or --history with the user's ratings")
    if history is None:
        refuse_reading(encoding, records, "--history")
    from gavamoe.cli.output import emit_json, note, table
    from gavamoe.pipeline.history_file import read_history_file
    from gavamoe.preference.recommender import Recommender

    explainer = _load_explainer(run, verify) if explain else None
    recommender = explainer or Recommender.from_pretrained(run, verify=verify)
    own = None
    if history is not None:
        user, own = read_history_file(history, recommender.catalog, encoding, records, note).of_user(user)
    elif recommender.catalog.user_id(user) == 0:
        raise InputError(
            f"user '{user}' has no training review in {run}, so the user's taste is unknown; check the spelling, or "
            "state ratings of the user with --history FILE"
        )
    rows = recommender.recommend(user, top, own).to_dicts()
    if explainer is not None:
        explanations = explainer.explain_batch(
            [("" if user is None else user, row["item"]) for row in rows], histories=[own] * len(rows)
        )
        rows = [{**row, "cluster": e.cluster, "text": e.text} for row, e in zip(rows, explanations, strict=True)]
    for row in rows:
        del row["item_id"]
    if json:
        emit_json({"user": user, "recommendations": rows})
    else:
        columns = ["item", "title", "rating", *(["text"] if explain else [])]
        cells = [[_cell(row.get(column)) for column in columns] for row in rows]
        table(columns, cells)


def _load_explainer(run: Path, verify: bool) -> Explainer:
    from gavamoe.explainer.explainer import Explainer  # slow to import, and ratings need no stage 2

    return Explainer.from_pretrained(run, verify=verify)


def _cell(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value if value is not None else "")
