"""Which experts a text went through: the text is read once more, and the gates' choices are counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from gavamoe.explainer.dataset import PairContext
from gavamoe.explainer.generate import Generated
from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.language.encoding import PromptEncoder

BATCH = 256


@torch.inference_mode()
def expert_usage(model: GavamoeForCausalLM, pairs: PairContext, written: Sequence[Generated]) -> Tensor:
    """How many choices of each text's tokens each expert got, [N, layers, E]; of an empty text, its prompt's end."""
    model.eval()
    device = model.device
    counts = []
    for start in range(0, len(written), BATCH):
        rows = range(start, min(start + BATCH, len(written)))
        sequences = [written[row].prompt_ids + written[row].text_ids for row in rows]
        begins = [len(written[row].prompt_ids) - (not written[row].text_ids) for row in rows]
        width = max(map(len, sequences))
        ids = torch.tensor([ids + [0] * (width - len(ids)) for ids in sequences], device=device)
        place = torch.arange(width, device=device)
        lengths = torch.tensor([len(ids) for ids in sequences], device=device)[:, None]
        counted_NS = (place >= torch.tensor(begins, device=device)[:, None]) & (place < lengths)
        model(
            ids,
            attention_mask=(place < lengths).long(),
            user_ids=torch.as_tensor(pairs.user_id[list(rows)], device=device),
            item_ids=torch.as_tensor(pairs.item_id[list(rows)], device=device),
            cluster_ids=torch.as_tensor(pairs.cluster[list(rows)], device=device),
            logits_to_keep=1,  # none is looked at, and those of a whole batch would be gigabytes
        )
        layers = [
            _counts(selected, counted_NS, model.config.experts)
            for _, selected in sorted(model.routing.selected.items())
        ]
        counts.append(torch.stack(layers, dim=1))
    return torch.cat(counts).cpu()


def usage_of_texts(
    model: GavamoeForCausalLM, tokenizer: PreTrainedTokenizerBase, pairs: PairContext, texts: Sequence[str]
) -> Tensor:
    """`expert_usage` of given texts, as the model would write them of `pairs`, [N, layers, E]."""
    prompt = PromptEncoder(tokenizer)
    encoded = tokenizer([" " + text for text in texts], add_special_tokens=False)["input_ids"] if texts else []
    written = [
        Generated(text, prompt(level, feature, pairs.evidence(row, feature)), ids, finished=True)
        for row, (level, feature, text, ids) in enumerate(zip(pairs.level, pairs.feature, texts, encoded, strict=True))
    ]
    return expert_usage(model, pairs, written)


def _counts(selected_NSK: Tensor, counted_NS: Tensor, experts: int) -> Tensor:
    """Choices of each expert over the counted positions, [N, E]."""
    rows = selected_NSK.shape[0]
    weight = counted_NS[..., None].expand_as(selected_NSK).float().reshape(rows, -1)
    return torch.zeros(rows, experts, device=weight.device).scatter_add_(1, selected_NSK.reshape(rows, -1), weight)


DEAD = 0.01  # an expert with less than this part of an even share is called dead


@dataclass(frozen=True)
class ExpertReport:
    """use: a row per cluster, layer and expert (counted from 0): choices, and share of the cluster's in the layer."""

    use: pl.DataFrame

    @classmethod
    def count(cls, counts_NLE: np.ndarray, cluster_N: np.ndarray, layers: list[int]) -> ExpertReport:
        """From each text's choices by layer and expert (`expert_usage`); `layers` names the L layers."""
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

    def load(self) -> pl.DataFrame:
        """A row per cluster and layer, and per layer over all clusters (cluster null): entropy, dead, balance.

        entropy: of the load, as part of its maximum; 1 is even use. dead: experts with hardly a choice. balance: what
        the load-balancing loss would be for gates as sure as they choose; 1 is even.
        """
        everyone = self.use.group_by("layer", "expert").agg(pl.col("choices").sum())
        everyone = everyone.with_columns(
            cluster=pl.lit(None, self.use["cluster"].dtype),
            share=pl.col("choices") / pl.max_horizontal(pl.col("choices").sum().over("layer"), pl.lit(1)),
        ).select(self.use.columns)
        experts = self.use["expert"].n_unique()
        share = pl.col("share")
        return (
            pl.concat([self.use, everyone])
            .group_by("layer", "cluster")
            .agg(
                entropy=(share * share.replace(0.0, 1.0).log()).sum() / -np.log(max(experts, 2)),
                dead=(share < DEAD / experts).sum(),
                balance=experts * share.pow(2).sum(),
            )
            .sort("layer", "cluster", nulls_last=True)
        )

    def __str__(self) -> str:
        """The summary: a line per layer over all clusters, then the least even cluster of each."""
        load, lines = self.load(), []
        for layer in load["layer"].unique().sort():
            rows = load.filter(pl.col("layer") == layer)
            whole = rows.filter(pl.col("cluster").is_null()).row(0, named=True)
            least = rows.filter(pl.col("cluster").is_not_null()).sort("entropy").row(0, named=True)
            lines.append(
                f"layer {layer}: load entropy {whole['entropy']:.2f} of 1, {whole['dead']} dead experts; "
                f"least even cluster {least['cluster']}: {least['entropy']:.2f}, {least['dead']} dead"
            )
        return "\n".join(lines)
