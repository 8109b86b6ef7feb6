"""`gavamoe export`: a run for other machines, or one cluster of it as a plain checkpoint for other engines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gavamoe.cli.options import Json, RunArgument, Verify

if TYPE_CHECKING:
    from gavamoe.export.checkpoint import AddedRows

EXAMPLE = "Example: gavamoe export runs/first --cluster 0 --out exported/cluster-0"


def export(
    run: RunArgument,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Directory to write; an earlier export is replaced.")],
    cluster: Annotated[
        int | None,
        typer.Option(help="Write a plain transformers checkpoint of this cluster; default: the run's own format."),
    ] = None,
    users: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES_OR_FILE",
            help="Add rows to the vocabulary: names with commas (and all items), or a file of pairs (user, item).",
        ),
    ] = None,
    gguf: Annotated[bool, typer.Option("--gguf", help="Also write model.gguf for llama.cpp.")] = False,
    verify: Verify = False,
    json: Json = False,
) -> None:
    """Export a run: whole, or one cluster as a checkpoint that transformers, vLLM and llama.cpp load by themselves."""
    from gavamoe.errors import InputError

    if cluster is None and (users is not None or gguf):
        raise InputError("--users and --gguf are for the checkpoint of one cluster: add --cluster")
    from gavamoe.cli.output import emit_json
    from gavamoe.explainer.explainer import Explainer
    from gavamoe.export.checkpoint import check_out, export_cluster

    result: dict[str, Any]
    if cluster is None:
        Explainer.from_pretrained(run, "cpu", verify, as_saved=True).save_pretrained(out)
        result = {"out": str(out), "format": "gavamoe"}
    else:
        check_out(out)
        explainer = Explainer.from_pretrained(run, "cpu", verify, as_saved=True)
        result = export_cluster(explainer, cluster, out, _rows(users, explainer), gguf)
    if json:
        emit_json(result)
    else:
        _print(result)


def _print(result: dict[str, Any]) -> None:
    if result.get("format") == "gavamoe":
        print(f"the run, with its model card, is in {result['out']}")
        return
    cluster = result["cluster"]
    print(f"{result['architecture']} of cluster {cluster}, {result['parameters']:,} parameters, is in {result['out']}")
    for other, pairs in result.get("pairs_by_cluster", {}).items():
        if other != cluster:
            print(f"{pairs:,} of the pairs belong to cluster {other}, and are not in prompts.jsonl")


def _rows(users: str | None, explainer: Any) -> AddedRows | None:
    """Return whose rows are added to the vocabulary: those of names, or of a file of pairs."""
    from gavamoe.conditions import Condition
    from gavamoe.export.checkpoint import AddedRows
    from gavamoe.pipeline.pairs_file import read_pairs

    if users is None:
        return None
    if Path(users).is_file():
        catalog = explainer.catalog
        return AddedRows(pairs=read_pairs(Path(users), Condition(), catalog.scale, prepared=catalog.columns))
    return AddedRows(users=[name.strip() for name in users.split(",") if name.strip()])
