"""Which experts texts are routed to: counts per text, and their summary per cluster, layer and expert.

Each text is run through the model once more with its prompt, and the gates' choices are counted over its tokens.

Shape suffixes: N texts, S tokens, K selected experts per token, L layers, E experts, C clusters, G groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor

from gavamoe.errors import ConfigError
from gavamoe.explainer.context import PairContext
from gavamoe.explainer.generate import GeneratedText
from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.language.encoding import PromptEncoder, decode_text, encode_plain
from gavamoe.moe.gate import cluster_gates

BATCH = 256
DEAD_SHARE = 0.01  # an expert with less than this fraction of an even share is called dead


def has_experts(model: GavamoeForCausalLM) -> bool:
    """Return whether a layer of the model has experts."""
    return any(True for _ in cluster_gates(model))


@torch.inference_mode()
def expert_usage(model: GavamoeForCausalLM, pairs: PairContext, texts: Sequence[GeneratedText]) -> Tensor:
    """Return how often each expert was selected for the tokens of each text, [N, L, E].

    For an empty text, the last token of its prompt is counted.

    Raises:
        ConfigError: the model has no experts.
    """
    if not has_experts(model):
        raise ConfigError("the run has no experts: it was trained with explainer.moe_layers=[]")
    model.eval()
    device = model.device
    counts = []
    for start in range(0, len(texts), BATCH):
        rows = list(range(start, min(start + BATCH, len(texts))))
        sequences = [texts[row].prompt_ids + texts[row].text_ids for row in rows]
        first_counted = [len(texts[row].prompt_ids) - (not texts[row].text_ids) for row in rows]
        width = max(map(len, sequences))
        input_ids = torch.tensor([ids + [0] * (width - len(ids)) for ids in sequences], device=device)
        position_S = torch.arange(width, device=device)
        length_N1 = torch.tensor([len(ids) for ids in sequences], device=device)[:, None]
        first_N1 = torch.tensor(first_counted, device=device)[:, None]
        counted_NS = (position_S >= first_N1) & (position_S < length_N1)
        model(
            input_ids,
            attention_mask=(position_S < length_N1).long(),
            **pairs.model_inputs(rows, device),
            logits_to_keep=1,  # logits are not read, and those of a whole batch would take gigabytes
        )
        selected_by_layer = list(model.routing.selected.values())
        layers = [_count_choices(selected, counted_NS, model.config.experts) for selected in selected_by_layer]
        counts.append(torch.stack(layers, dim=1))
    return torch.cat(counts).cpu()


def usage_of_texts(
    model: GavamoeForCausalLM, prompt: PromptEncoder, pairs: PairContext, texts: Sequence[str]
) -> Tensor:
    """Return the `expert_usage` of given texts, as if the model had generated them for `pairs`, [N, L, E]."""
    encoded = encode_plain(prompt.tokenizer, [" " + text for text in texts]) if texts else []
    generated = [
        GeneratedText(text, prompt_ids, ids, finished=True)
        for text, prompt_ids, ids in zip(texts, pairs.prompts(prompt), encoded, strict=True)
    ]
    return expert_usage(model, pairs, generated)


def usage_shares(counts_NLE: np.ndarray, group_N: np.ndarray, groups: int) -> np.ndarray:
    """Sum expert counts by group and normalise them over experts.

    Args:
        counts_NLE: choices of each text, [N, L, E].
        group_N: the group of each text, such as its cluster, [N].
        groups: the number of groups G.

    Returns:
        Shares, [G, L, E]; 0 for a group without texts.
    """
    sums_GLE: np.ndarray = np.zeros((groups, *counts_NLE.shape[1:]))
    np.add.at(sums_GLE, group_N, counts_NLE)
    share_GLE: np.ndarray = sums_GLE / np.maximum(sums_GLE.sum(-1, keepdims=True), 1)
    return share_GLE


@dataclass(frozen=True)
class TokenExperts:
    """The experts that a token of a text was routed to.

    Args:
        text: what the token adds to the text; empty if later tokens are needed to complete a letter.
        layers: the experts selected in each layer that has experts, highest weight first.
    """

    text: str
    layers: list[list[int]]


@torch.inference_mode()
def experts_by_token(
    model: GavamoeForCausalLM, prompt: PromptEncoder, pairs: PairContext, text: str, max_tokens: int
) -> list[TokenExperts]:
    """Return the experts of each token of a text, as if the model had generated it for the single pair of `pairs`.

    The pieces joined are the text with single spaces. Tokens after the first `max_tokens` are left out.
    """
    model.eval()
    tokenizer, prompt_ids = prompt.tokenizer, prompt(pairs.fields(0))
    text_ids = encode_plain(tokenizer, [" " + text.strip()])[0][:max_tokens]
    if not text_ids:
        return []
    input_ids = torch.tensor([prompt_ids + text_ids], device=model.device)
    model(input_ids, **pairs.model_inputs([0], model.device), logits_to_keep=1)
    selected = [chosen[0, len(prompt_ids) :].tolist() for chosen in model.routing.selected.values()]
    pieces, sent = [], ""
    for end in range(1, len(text_ids) + 1):
        decoded = decode_text(tokenizer, text_ids[:end])
        complete = decoded if end == len(text_ids) else decoded.rstrip("\ufffd").rstrip()
        complete = complete if complete.startswith(sent) else sent
        pieces.append(complete[len(sent) :])
        sent = complete
    return [TokenExperts(piece, [layer[position] for layer in selected]) for position, piece in enumerate(pieces)]


def _count_choices(selected_NSK: Tensor, counted_NS: Tensor, experts: int) -> Tensor:
    """Return how often each expert was selected at the counted positions, [N, E]."""
    rows = selected_NSK.shape[0]
    weight = counted_NS[..., None].expand_as(selected_NSK).float().reshape(rows, -1)
    return torch.zeros(rows, experts, device=weight.device).scatter_add_(1, selected_NSK.reshape(rows, -1), weight)


@dataclass(frozen=True)
class ExpertReport:
    """How often experts were selected; `print` it for a summary.

    Args:
        use: a row per cluster, layer and expert (layers and experts counted from 0): choices, and their share of the
            cluster's choices in the layer.
    """

    use: pl.DataFrame

    @classmethod
    def from_counts(cls, counts_NLE: np.ndarray, cluster_N: np.ndarray, layers: list[int]) -> ExpertReport:
        """Sum `expert_usage` over the texts of each cluster; `layers` are the numbers of the L layers."""
        clusters = np.unique(cluster_N)
        choices_CLE = np.stack([counts_NLE[cluster_N == cluster].sum(0) for cluster in clusters])
        c, layer, expert = (index.ravel() for index in np.indices(choices_CLE.shape))
        use = pl.DataFrame(
            {
                "cluster": clusters[c],
                "layer": np.array(layers)[layer],
                "expert": expert,
                "choices": choices_CLE.ravel().astype(np.int64),
            }
        )
        total = pl.col("choices").sum().over("cluster", "layer")
        return cls(use.with_columns(share=pl.col("choices") / pl.max_horizontal(total, pl.lit(1))))

    def load_balance(self) -> pl.DataFrame:
        """Return how evenly experts are used, per layer and cluster and per layer over all clusters (cluster null).

        Columns:
            entropy: of the load, as a fraction of its maximum; 1 is even use.
            dead: number of experts with less than DEAD_SHARE of an even share.
            balance: the load-balancing loss if router probabilities equalled the load; 1 is even use.
        """
        all_clusters = self.use.group_by("layer", "expert").agg(pl.col("choices").sum())
        all_clusters = all_clusters.with_columns(
            cluster=pl.lit(None, self.use["cluster"].dtype),
            share=pl.col("choices") / pl.max_horizontal(pl.col("choices").sum().over("layer"), pl.lit(1)),
        ).select(self.use.columns)
        experts = self.use["expert"].n_unique()
        share = pl.col("share")
        return (
            pl.concat([self.use, all_clusters])
            .group_by("layer", "cluster")
            .agg(
                entropy=(share * share.replace(0.0, 1.0).log()).sum() / -np.log(max(experts, 2)),
                dead=(share < DEAD_SHARE / experts).sum(),
                balance=experts * share.pow(2).sum(),
            )
            .sort("layer", "cluster", nulls_last=True)
        )

    def __str__(self) -> str:
        """Return a line per layer: its load over all clusters, and its least even cluster."""
        load, lines = self.load_balance(), []
        for layer in load["layer"].unique().sort():
            rows = load.filter(pl.col("layer") == layer)
            whole = rows.filter(pl.col("cluster").is_null()).row(0, named=True)
            least = rows.filter(pl.col("cluster").is_not_null()).sort("entropy").row(0, named=True)
            lines.append(
                f"layer {layer}: load entropy {whole['entropy']:.2f} of 1, {whole['dead']} dead experts; "
                f"least even cluster {least['cluster']}: {least['entropy']:.2f}, {least['dead']} dead"
            )
        return "\n".join(lines)
