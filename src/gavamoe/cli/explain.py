"""`gavamoe explain`: why an item suits a user, for one pair or a file of pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gavamoe.cli.main import app
from gavamoe.cli.options import Feature, Rating, Source

if TYPE_CHECKING:
    from gavamoe.conditions import Condition
    from gavamoe.language.decoding_config import DecodingConfig
    from gavamoe.pipeline.explain_file import Keep

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
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="With --pairs: also fill this store of `gavamoe serve`, such as sqlite:///FILE."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="With --pairs: go on after an interruption.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Write why an item suits a user; unknown users and items are explained as such."""
    from gavamoe.errors import InputError

    one, many = user is not None and item is not None, pairs is not None and out is not None
    if one == many or (one and (pairs or out)) or (many and (user or item)):
        raise InputError("explain takes either --user and --item, or --pairs and --out")
    if one and store is not None:
        raise InputError("--store is filled from a file of pairs: use --pairs and --out")
    if one and Source.given in (rating, feature):
        raise InputError("--rating given and --feature given need a file with those columns: use --pairs")
    from gavamoe.cli.output import emit_json, note
    from gavamoe.conditions import Condition
    from gavamoe.explainer.explainer import EVIDENCE, Explainer
    from gavamoe.pipeline.explain_file import explain_file

    condition = Condition(rating.value, feature.value)
    explainer = Explainer.from_pretrained(run)
    decoding = explainer.decoding
    if candidates is not None:
        decoding = decoding.with_options(candidates=candidates)
    if pairs is not None and out is not None:
        keep = None if store is None else _open_keeper(store, run, condition, decoding)
        result = explain_file(
            explainer, pairs, out, condition, resume, evidence=evidence or 0, decoding=decoding, keep=keep
        )
        if json:
            emit_json(result)
        else:
            oracle = ORACLE if condition.oracle else ""
            print(f"{result['n']:,} explanations in {out}{oracle}")
        return
    assert user is not None and item is not None  # noqa: PT018 - checked above
    count = EVIDENCE if evidence is None else evidence
    pair = [(user, item)]
    explanation = explainer.explain_batch(pair, condition, experts=True, evidence=count, decoding=decoding)[0]
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


def _open_keeper(url: str, run: Path, condition: Condition, decoding: DecodingConfig) -> Keep:
    from gavamoe.errors import InputError

    try:
        from gavamoe.pipeline.explanation_store import keep_in_store, open_store
    except ModuleNotFoundError as error:
        raise InputError(
            f"{error.name} is not installed; install what --store needs: pip install 'gavamoe[serve]'"
        ) from None
    from gavamoe.run import RunDirectory

    return keep_in_store(open_store(url), RunDirectory(run).digest(), condition, decoding)
