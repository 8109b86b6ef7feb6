"""`gavamoe explain`: why an item suits a user, for one pair or a file of pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gavamoe.cli.main import app
from gavamoe.cli.options import Encoding, Feature, Rating, Records, Source

EXAMPLE = "Example: gavamoe explain runs/first --user u17 --item i4"
ORACLE = " (oracle: ground truth was in the prompt)"


@app.command(epilog=EXAMPLE)
def explain(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    user: Annotated[str | None, typer.Option(help="The user's name in the reviews.")] = None,
    item: Annotated[str | None, typer.Option(help="The item's name in the reviews.")] = None,
    pairs: Annotated[Path | None, typer.Option(help="Instead of one pair, a file with columns user, item.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write with --pairs: .parquet, .jsonl or .csv.")] = None,
    rating: Rating = Source.predicted,
    feature: Feature = Source.predicted,
    evidence: Annotated[
        int | None,
        typer.Option(min=0, help="Sentences by others to show beside a text; 3 for one pair, none for files."),
    ] = None,
    candidates: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Drafts of a text, of which the one most like the others is kept; 1 is fast."),
    ] = None,
    encoding: Encoding = None,
    records: Records = None,
    resume: Annotated[bool, typer.Option("--resume", help="With --pairs: go on after an interruption.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Write why an item suits a user; unknown users and items are explained as such."""
    from gavamoe.errors import InputError

    one, many = user is not None and item is not None, pairs is not None and out is not None
    if one == many or (one and (pairs or out)) or (many and (user or item)):
        raise InputError("explain takes either --user and --item, or --pairs and --out")
    if one and Source.given in (rating, feature):
        raise InputError("--rating given and --feature given need a file with those columns: use --pairs")
    from gavamoe.cli.output import emit_json, note
    from gavamoe.conditions import Condition
    from gavamoe.explainer.explainer import EVIDENCE, Explainer
    from gavamoe.pipeline.explain_file import explain_file

    condition = Condition(rating.value, feature.value)
    explainer = Explainer.from_pretrained(run)
    if candidates is not None:
        explainer.model.generation_config.candidates = candidates
    if pairs is not None and out is not None:
        result = explain_file(
            explainer,
            pairs,
            out,
            condition,
            resume,
            evidence=evidence or 0,
            encoding=encoding,
            records=records,
            on_reading=lambda reading: note("; ".join(reading.describe())) if reading.describe() else None,
        )
        if json:
            emit_json(result)
        else:
            oracle = ORACLE if condition.oracle else ""
            print(f"{result['n']:,} explanations in {out}{oracle}")
        return
    assert user is not None and item is not None  # noqa: PT018 - checked above
    count = EVIDENCE if evidence is None else evidence
    explanation = explainer.explain_batch([(user, item)], condition, experts=True, evidence=count)[0]
    for name, kind, cold in ((user, "user", explanation.cold_user), (item, "item", explanation.cold_item)):
        if cold:
            note(f"gavamoe: {kind} '{name}' has no training review; explained as an unknown {kind}")
    if json:
        emit_json(explanation.to_dict())
    else:
        share = explanation.responsibilities[explanation.cluster]
        print(explanation.text)
        print(f"  predicted rating {explanation.rating:.1f}, cluster {explanation.cluster} ({share:.0%})")
        for said in explanation.evidence:
            print(f"  {said.user} gave {said.rating:g} (score {said.score:.2f}): {said.text}")
