"""`gavamoe explain`: explain one (user, item) pair, or a file of pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gavamoe.cli.options import (
    Context,
    Encoding,
    Feature,
    History,
    Json,
    Rating,
    Records,
    RunArgument,
    Verify,
    refuse_reading,
)
from gavamoe.cli.output import emit_json, note
from gavamoe.conditions import Condition, Source
from gavamoe.errors import InputError, printable

if TYPE_CHECKING:
    from gavamoe.explainer.explainer import Explainer
    from gavamoe.explainer.explanation import Explanation
    from gavamoe.language.decoding_config import DecodingConfig
    from gavamoe.pipeline.explain_file import Keep
    from gavamoe.pipeline.history_file import HistoryFile

EXAMPLE = "Example: gavamoe explain runs/first --user u17 --item i4"
GUEST = "guest"  # name in the result of a user who has a history and no name
ORACLE = " (oracle: ground truth was in the prompt)"


def explain(
    run: RunArgument,
    user: Annotated[str | None, typer.Option(help="The user's name in the reviews.")] = None,
    item: Annotated[str | None, typer.Option(help="The item's name in the reviews.")] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(help="Instead of one pair, a file with columns user, item, or a directory of such files."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write with --pairs: .parquet, .jsonl or .csv; no suffix: a directory of Parquet."),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="With --pairs: ray explains on the cluster of RAY_ADDRESS, or on all processors here."),
    ] = "local",
    history: History = None,
    rating: Rating = "predicted",
    feature: Feature = "predicted",
    context: Context = None,
    evidence: Annotated[
        int | None,
        typer.Option(min=0, help="Sentences from other reviews to show with each text; 3 for one pair, 0 for files."),
    ] = None,
    candidates: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Drafts per text; the draft most like the others is kept. 1 is fast."),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="With --pairs: also fill this store of `gavamoe serve`, such as sqlite:///FILE."
        ),
    ] = None,
    encoding: Encoding = None,
    records: Records = None,
    resume: Annotated[bool, typer.Option("--resume", help="With --pairs: continue after an interruption.")] = False,
    verify: Verify = False,
    json: Json = False,
) -> None:
    """Write why an item suits a user; users and items without training reviews are allowed."""
    someone = user is not None or history is not None
    one, many = someone and item is not None, pairs is not None and out is not None
    if one == many or (one and (pairs or out)) or (many and (user or item)):
        raise InputError("explain takes either --user and --item, or --pairs and --out; --history can stand for --user")
    if one:
        _check_pair(user, item, store, resume, engine, rating, feature)
        if history is None:
            refuse_reading(encoding, records, "--history or --pairs")
    from gavamoe.explainer.explainer import Explainer
    from gavamoe.pipeline.explain_file import explain_file
    from gavamoe.pipeline.history_file import read_history_file
    from gavamoe.run import RunDirectory

    condition = Condition(rating, feature, context)
    run_windows, device = None, None
    if engine == "ray":
        from gavamoe.pipeline.ray_engine import ray_engine

        run_windows, device = ray_engine(run), "cpu"  # the GPUs are the workers'
    explainer = Explainer.from_pretrained(run, device, verify)
    missing = RunDirectory(run).absent
    decoding = _with_candidates(explainer.decoding, candidates)
    rated = None if history is None else read_history_file(history, explainer.catalog, encoding, records, note)
    if pairs is not None and out is not None:
        result = explain_file(
            explainer,
            pairs,
            out,
            condition,
            resume,
            evidence=evidence or 0,
            decoding=decoding,
            keep=None if store is None else _open_keeper(store, run, condition, decoding),
            encoding=encoding,
            records=records,
            on_reading=lambda reading: note("; ".join(reading.describe())) if reading.describe() else None,
            history=rated,
            engine=run_windows,
        )
        text = f"{result['n']:,} explanations in {out}{ORACLE if condition.oracle else ''}"
        for side in ("user", "item"):
            if cold := result[f"cold_{side}s"]:
                note(f"gavamoe: {cold:,} of {result['n']:,} pairs have {side}s without a training review")
    else:
        assert item is not None  # checked above
        explanation = _explain_pair(explainer, user, item, condition, evidence, decoding, rated)
        result, text = explanation.to_dict(), _in_words(explanation)
    if json:
        emit_json(result | ({"absent": missing} if missing else {}))
    else:
        print(text)


def _check_pair(
    user: str | None,
    item: str | None,
    store: str | None,
    resume: bool,
    engine: str,
    rating: Source,
    feature: Source,
) -> None:
    """Raise `InputError` for an empty name, or for an option that one pair does not have."""
    if any(name is not None and not name.strip() for name in (user, item)):
        raise InputError("--user and --item need names, and one of them is empty")
    if store is not None:
        raise InputError("--store is filled from a file of pairs: use --pairs and --out")
    if resume:
        raise InputError("--resume continues a file of pairs: use --pairs and --out")
    if engine == "ray":
        raise InputError("--engine ray explains a file of pairs: use --pairs and --out")
    if "given" in (rating, feature):
        raise InputError("--rating given and --feature given need a file with those columns: use --pairs")


def _with_candidates(decoding: DecodingConfig, candidates: int | None) -> DecodingConfig:
    """Return the decoding with so many drafts; a note says where they would all be equal."""
    if candidates is None:
        return decoding
    decoding = decoding.with_options(candidates=candidates)
    if decoding.num_drafts < candidates:
        note(f"gavamoe: --candidates {candidates} has no effect: the run does not sample, so all drafts are equal")
    return decoding


def _explain_pair(
    explainer: Explainer,
    user: str | None,
    item: str,
    condition: Condition,
    evidence: int | None,
    decoding: DecodingConfig,
    rated: HistoryFile | None,
) -> Explanation:
    """Return the explanation of one pair; notes name a user and an item without training reviews."""
    from gavamoe.explainer.explainer import EVIDENCE

    user, own = (user, None) if rated is None else rated.of_user(user)
    explanation = explainer.explain_batch(
        [(GUEST if user is None else user, item)],
        condition,
        experts=True,
        evidence=EVIDENCE if evidence is None else evidence,
        decoding=decoding,
        histories=[own],
    )[0]
    unknown = explanation.user_source == "unknown"
    for name, kind, cold in ((user, "user", unknown), (item, "item", explanation.cold_item)):
        if cold:
            note(f"gavamoe: {kind} '{name}' has no training review; explained as an unknown {kind}")
    return explanation


def _in_words(explanation: Explanation) -> str:
    """Return the lines that a terminal shows of an explanation."""
    share = explanation.responsibilities[explanation.cluster]
    lines = [
        printable(explanation.text),
        f"  predicted rating {explanation.rating:.1f}, cluster {explanation.cluster} ({share:.0%})",
    ]
    for quote in explanation.evidence:
        lines.append(printable(f"  {quote.user} gave {quote.rating:g} (score {quote.score:.2f}): {quote.text}"))
    return "\n".join(lines)


def _open_keeper(url: str, run: Path, condition: Condition, decoding: DecodingConfig) -> Keep:
    try:
        from gavamoe.pipeline.explanation_store import KeepInStore, open_store
    except ModuleNotFoundError as error:
        raise InputError(
            f"{error.name} is not installed; install what --store needs: pip install 'gavamoe[serve]'"
        ) from None
    from gavamoe.run import RunDirectory

    return KeepInStore(open_store(url), RunDirectory(run).digest(), condition, decoding)
