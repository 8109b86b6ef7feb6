"""One cluster of a run as a plain checkpoint of transformers, in a directory that needs no gavamoe.

run --Explainer--> choose_layout -> cluster_state (-> append_rows) -> stock model --check_same_logits--> DIR
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from gavamoe.errors import ConfigError, RunError
from gavamoe.explainer.explainer import Explainer
from gavamoe.explainer.gate_assignment import IN_WORDS
from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.export.architectures import StockLayout, choose_layout, stock_config
from gavamoe.export.card import write_stock_card
from gavamoe.export.gguf_file import check_gguf, write_gguf
from gavamoe.export.soft_tokens import write_soft_tokens
from gavamoe.export.vocabulary import VocabularyRows, append_rows, vocabulary_rows, write_prompts, write_vocabulary
from gavamoe.export.weights import cluster_state
from gavamoe.files import real_path, staged_directory
from gavamoe.language.quiet import quiet_transformers
from gavamoe.run import check_outside_parts
from gavamoe.seal import check_replace, write_seal

GGUF = "model.gguf"
CHECK_TOKENS = 16  # length of the sequence whose logits are compared
TOLERANCE = 1e-4  # largest difference of a logit, as a part of the largest logit, in float32
COARSE = 0.05  # mean difference in half precision, as a part of the mean logit; a rounded gate may select otherwise


@dataclass(frozen=True)
class AddedRows:
    """Whose soft tokens become rows of the vocabulary.

    Attributes:
        users: names of users, with rows for all items; each must be in the run.
        pairs: or pairs, columns user and item; their prompts are written too.
    """

    users: Sequence[str] = ()
    pairs: pl.DataFrame | None = None


def check_out(out: Path) -> None:
    """Raise `RunError` if a directory holds anything but an export of this package, or lies in a part of a run."""
    check_outside_parts(out)
    if out.exists():
        check_replace(out, "checkpoint", RunError)


@quiet_transformers()
def export_cluster(
    explainer: Explainer, cluster: int, out: Path, rows: AddedRows | None = None, gguf: bool = False
) -> dict[str, Any]:
    """Write the stock checkpoint of one cluster; an export of this package at `out` is replaced.

    Args:
        explainer: the run, on the CPU; its tokenizer gets the new tokens of `rows`.
        cluster: the cluster.
        out: directory to write.
        rows: users and items that become rows of the vocabulary.
        gguf: whether to write a GGUF for llama.cpp too.

    Returns:
        What was written: architecture, cluster, parameters, dtype, files, and the largest difference of logits.

    Raises:
        ConfigError: There is no such cluster, or the model cannot be represented.
        DataError: The run does not know a user.
        RunError: `out` holds something else.
    """
    check_out(out)
    layout = _checked_layout(explainer, cluster, gguf)
    added = None if rows is None else _rows(explainer, rows)
    stock, new_ids = _stock_model(explainer, cluster, layout, added)
    result: dict[str, Any] = {
        "architecture": type(stock).__name__,
        "cluster": cluster,
        "parameters": stock.num_parameters(),
        "dtype": str(stock.dtype).removeprefix("torch."),
        "rows_added": len(new_ids),
        "logit_difference": check_same_logits(explainer.model, stock, cluster),
    }
    with staged_directory(real_path(out)) as staged:
        stock.save_pretrained(staged)
        _write_beside(explainer, cluster, new_ids, staged)
        if added is not None and rows is not None:
            write_vocabulary(added, staged)
            if rows.pairs is not None:
                result["pairs_by_cluster"] = write_prompts(explainer, added, rows.pairs, cluster, staged)
        if gguf:
            write_gguf(stock, explainer.tokenizer, layout, staged / GGUF)
        write_stock_card(explainer, result, added, gguf, staged)
        files = sorted(path for path in staged.rglob("*") if path.is_file())
        write_seal(staged, files)
        names = [path.relative_to(staged).as_posix() for path in files]
    return {**result, "files": names, "out": str(out)}


def _checked_layout(explainer: Explainer, cluster: int, gguf: bool) -> StockLayout:
    """Return the stock architecture of a run that has this cluster; `ConfigError` if it cannot be written."""
    config = explainer.model.config
    source = explainer.context.gates.source
    if source in ("random", "kmeans"):
        raise ConfigError(f"--cluster: the run has {IN_WORDS[source]}, so a gate does not belong to a cluster")
    if source == "one" and cluster:
        raise ConfigError(f"--cluster {cluster}: the run has one gate for all pairs; export it with --cluster 0")
    if not 0 <= cluster < config.clusters:
        raise ConfigError(f"--cluster {cluster}: the run has the clusters 0 to {config.clusters - 1}")
    layout = choose_layout(config)
    if gguf:
        check_gguf(layout, config.text_config, explainer.tokenizer)
    return layout


def _write_beside(explainer: Explainer, cluster: int, new_ids: list[int], directory: Path) -> None:
    """Write what a checkpoint has beside its weights: tokenizer, decoding and soft tokens."""
    explainer.tokenizer.save_pretrained(directory)
    options = {"suppress_tokens": new_ids} if new_ids else {}
    # Drafts and their choice are gavamoe's own.
    decoding = explainer.decoding.with_options(candidates=None, mbr_references=None, mbr_content_words=None, **options)
    decoding.to_generation_config().save_pretrained(directory)
    write_soft_tokens(explainer, cluster, directory)


def _rows(explainer: Explainer, rows: AddedRows) -> VocabularyRows:
    """Return the vocabulary's new rows; unknown names of pairs have none, as the plain tokens stand for them."""
    catalog = explainer.catalog
    if rows.pairs is None:
        return vocabulary_rows(explainer, rows.users, catalog.item_names[1:])
    users = [name for name in rows.pairs["user"].unique(maintain_order=True) if catalog.user_id(name)]
    items = [name for name in rows.pairs["item"].unique(maintain_order=True) if catalog.item_id(name)]
    return vocabulary_rows(explainer, users, items)


def _stock_model(
    explainer: Explainer, cluster: int, layout: StockLayout, rows: VocabularyRows | None
) -> tuple[PreTrainedModel, list[int]]:
    """Return the stock model of a cluster and the ids of its new tokens."""
    model, tokenizer = explainer.model, explainer.tokenizer
    # One table cannot be scaled as input and not as output, nor hold users as input only.
    tied = model.config.text_config.tie_word_embeddings and model.config.embedding_scale == 1 and rows is None
    state = cluster_state(model, cluster, layout, tied)
    new_ids = [] if rows is None else append_rows(rows, state, tokenizer, model.config)
    vocabulary = len(state["model.embed_tokens.weight"])
    config = stock_config(model.config, layout, tokenizer, vocabulary, tied)
    return build_stock(config, state, model.dtype), new_ids


def build_stock(config: PretrainedConfig, state: dict[str, Tensor], dtype: torch.dtype) -> PreTrainedModel:
    """Return the stock model with these weights, without initialising others first."""
    config.dtype = dtype
    with torch.device("meta"):
        stock: Any = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)
    state = {name: tensor.to(dtype) for name, tensor in state.items()}
    if config.tie_word_embeddings:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    stock.load_state_dict(state, strict=True, assign=True)
    stock.tie_weights()
    stock.model.rotary_emb = type(stock.model.rotary_emb)(config)  # its buffers are no weights
    return stock.eval()


@torch.inference_mode()
def check_same_logits(model: GavamoeForCausalLM, stock: PreTrainedModel, cluster: int) -> float:
    """Check that both models give the same logits for a sequence of random tokens; return the largest difference.

    Raises:
        ConfigError: They do not, so the stock architecture does something else than the run's base.
    """
    config, seed = model.config, torch.Generator().manual_seed(0)
    marks = {config.user_token_id, config.item_token_id, *config.fact_token_ids}
    ids_1S = torch.randint(config.vocabulary, (1, CHECK_TOKENS), generator=seed)
    for mark in marks:
        ids_1S[ids_1S == mark] = config.text_token_id
    expected_SV = model(ids_1S, cluster_ids=torch.tensor([cluster])).logits[0].float()
    found_SV = stock(ids_1S).logits[0, :, : config.vocabulary].float()
    difference_SV = (found_SV - expected_SV).abs()
    if model.dtype == torch.float32:
        same = difference_SV.max() <= TOLERANCE * expected_SV.abs().max().clamp_min(1)
    else:
        same = difference_SV.mean() <= COARSE * expected_SV.abs().mean()
    if not same:
        raise ConfigError(
            f"{type(stock).__name__} gives other logits than this run (by up to {float(difference_SV.max()):.2g}), so "
            "nothing was written; export without --cluster, which keeps the run's own format"
        )
    return float(difference_SV.max())
