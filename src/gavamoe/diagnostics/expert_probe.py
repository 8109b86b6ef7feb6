"""Run stage 2 over validation texts with gates exchanged or mixed and experts removed or merged; record what they do.

The texts are read with the true rating and feature in the prompt, as in the validation loss of the training. The model
itself is never changed: hooks on gates and experts replace the choices while a measurement lasts.

Shape suffixes: B batch, S sequence, T tokens, H hidden, E experts, K selected experts, C clusters, L layers, N texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from gavamoe.config import ExplainerConfig
from gavamoe.explainer.dataset import Collator, ExplanationDataset
from gavamoe.explainer.explainer import Explainer
from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.language.encoding import IGNORED, encode_plain
from gavamoe.moe.block import MultiGateMoE
from gavamoe.moe.gate import ClusterGate

BATCH = 32
MAX_OUTPUT_TOKENS = 512  # tokens on which the outputs of experts are compared
MAX_OUTPUT_NUMBERS = 2**26  # the same limit for all experts' outputs together, for wide models with many experts
KINDS = ("feature", "frequent", "other", "punctuation")

# Returns the router logits [B, S, E] that replace those of a gate, for its layer, input [B, S, H] and clusters [B].
Reroute = Callable[[int, ClusterGate, Tensor, Tensor], Tensor]
Batch = dict[str, Tensor]


@dataclass(frozen=True)
class TokenUse:
    """How often experts were selected.

    Args:
        by_text: selections of each text, [N, L, E].
        by_kind: selections of each kind of token (`KINDS`), [4, L, E].
        layers: numbers of the L layers that have experts.
    """

    by_text: np.ndarray
    by_kind: np.ndarray
    layers: list[int]


class ExpertProbe:
    """Stage 2 of a run and a sample of validation texts, in batches.

    Args:
        explainer: the run.
        reviews: prepared reviews with text.
        config: settings of stage 2, with defaults resolved.
        seed: of the order of the batches.
    """

    def __init__(self, explainer: Explainer, reviews: pl.DataFrame, config: ExplainerConfig, seed: int):
        self.model: GavamoeForCausalLM = explainer.model
        self.tokenizer: PreTrainedTokenizerBase = explainer.tokenizer
        dataset = ExplanationDataset.from_reviews(
            reviews, explainer.context, explainer.prompt, config, seed, hide=False
        )
        self.pairs = dataset.pairs
        # Texts of similar length share a batch, for little padding; the first batches are not the shortest ones.
        order = sorted(range(len(dataset)), key=lambda row: dataset.lengths[row])
        batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
        self.rows = [batches[place] for place in np.random.default_rng(seed).permutation(len(batches))]
        pad = self.tokenizer.pad_token_id
        collate = Collator(0 if pad is None else int(pad))
        self.batches: list[Batch] = [
            {name: tensor.to(self.model.device) for name, tensor in collate([dataset[row] for row in rows]).items()}
            for rows in self.rows
        ]
        self.gamma_NC = explainer.predict_preference(self.pairs.user_id, self.pairs.item_id).responsibilities
        self.gates = explainer.context.gates.count

    @property
    def gate_N(self) -> np.ndarray:
        """The gate of each text, [N]."""
        return self.pairs.gate

    @cached_property
    def blocks(self) -> list[MultiGateMoE]:
        """The blocks with experts, by layer."""
        found = [module for module in self.model.modules() if isinstance(module, MultiGateMoE)]
        return sorted(found, key=lambda block: block.layer)

    @torch.inference_mode()
    def loss(self, batches: int | None = None, gates: Callable[[Tensor], Tensor] | None = None) -> float:
        """Return nats per token of the explanations and their end tokens.

        Args:
            batches: how many batches to read; None for all.
            gates: replaces the clusters of a batch, [B]; None keeps them.
        """
        nats = tokens = 0.0
        for batch in self.batches[:batches]:
            cluster_B = batch["cluster_ids"]
            output = self.model(**{**batch, "cluster_ids": cluster_B if gates is None else gates(cluster_B)})
            scored = int((batch["labels"][:, 1:] != IGNORED).sum())
            nats, tokens = nats + float(output.loss) * scored, tokens + scored
        return nats / max(tokens, 1)

    def loss_without(self, layer: int, expert: int, batches: int | None = None) -> float:
        """Return `loss` when one expert of one layer is never selected."""

        def remove(at: int, gate: ClusterGate, x_BSH: Tensor, cluster_B: Tensor) -> Tensor:
            logits_BSE = _logits(x_BSH, gate.weight_CEH[cluster_B])
            if at == layer:
                logits_BSE[..., expert] = -torch.inf
            return logits_BSE

        with rerouted(self.blocks, remove):
            return self.loss(batches)

    def loss_with_merged(self, layer: int, kept: int, merged: int, batches: int | None = None) -> float:
        """Return `loss` when one expert of a layer also computes what another one is selected for."""
        [block] = [block for block in self.blocks if block.layer == layer]

        def merge(experts: torch.nn.Module, args: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
            x_TH, selected_TK, weight_TK = args
            return x_TH, selected_TK.masked_fill(selected_TK == merged, kept), weight_TK

        hook = block.experts.register_forward_pre_hook(merge)
        try:
            return self.loss(batches)
        finally:
            hook.remove()

    def loss_with_soft_gates(self) -> float:
        """Return `loss` when each text's gate is the mean of all gates, weighted by its responsibilities."""
        rows = iter(self.rows)

        def with_rows(cluster_B: Tensor) -> Tensor:
            gamma_BC = self.gamma_NC[next(rows)]
            state["gamma"] = torch.as_tensor(gamma_BC, dtype=torch.float32, device=cluster_B.device)
            return cluster_B

        def mix(at: int, gate: ClusterGate, x_BSH: Tensor, cluster_B: Tensor) -> Tensor:
            return _logits(x_BSH, torch.einsum("bc,ceh->beh", state["gamma"], gate.weight_CEH.float()))

        state: dict[str, Tensor] = {}
        with rerouted(self.blocks, mix):
            return self.loss(gates=with_rows)

    @torch.inference_mode()
    def selections_changed(self, gates: Callable[[Tensor], Tensor]) -> float:
        """Return the share of selected experts that change when other gates route the same texts, 0..1."""
        changed = total = 0.0
        for batch in self.batches:
            before = self._selected(batch, batch["cluster_ids"])
            after = self._selected(batch, gates(batch["cluster_ids"]))
            mask_BS = batch["labels"] != IGNORED
            for layer, selected_BSK in before.items():
                kept_BSK = (selected_BSK[..., :, None] == after[layer][..., None, :]).any(-1)
                changed += float((~kept_BSK[mask_BS]).sum())
                total += float(kept_BSK[mask_BS].numel())
        return changed / max(total, 1)

    @torch.inference_mode()
    def use(self) -> TokenUse:
        """Count the experts selected for the tokens of each text, and for each kind of token."""
        kind_of = _TokenKinds(self.tokenizer, self.batches)
        experts, layers = self.model.config.experts, [block.layer for block in self.blocks]
        by_text = np.zeros((len(self.pairs), len(layers), experts))
        by_kind = np.zeros((len(KINDS), len(layers), experts))
        for rows, batch in zip(self.rows, self.batches, strict=True):
            kind_BS = kind_of(batch, [self.pairs.feature[row] for row in rows])
            place_B, place_S = np.nonzero(kind_BS >= 0)
            for at, selected_BSK in enumerate(self._selected(batch, batch["cluster_ids"]).values()):
                chosen_TK = selected_BSK.cpu().numpy()[place_B, place_S]
                text_T1, kind_T1 = np.array(rows)[place_B][:, None], kind_BS[place_B, place_S][:, None]
                np.add.at(by_text[:, at], (text_T1, chosen_TK), 1)
                np.add.at(by_kind[:, at], (kind_T1, chosen_TK), 1)
        return TokenUse(by_text, by_kind, layers)

    @torch.inference_mode()
    def output_cosines(self) -> np.ndarray:
        """Return the mean cosine of every two experts' outputs on the same tokens, [L, E, E]."""
        return np.stack([_cosines(block, x_TH) for block, x_TH in zip(self.blocks, self._inputs(), strict=True)])

    def _selected(self, batch: Batch, cluster_B: Tensor) -> dict[int, Tensor]:
        """Return the experts selected in each layer, [B, S, K] each, in the order of the layers."""
        named = {name: tensor for name, tensor in batch.items() if name != "labels"}
        self.model(**{**named, "cluster_ids": cluster_B}, logits_to_keep=1)
        return self.model.routing.selected

    def _inputs(self) -> list[Tensor]:
        """Return what each block's experts read at the tokens of texts, [T, H] each."""
        found: list[list[Tensor]] = [[] for _ in self.blocks]
        for batch in self.batches:
            mask_T = (batch["labels"] != IGNORED).flatten()
            hooks = [
                block.experts.register_forward_pre_hook(
                    lambda module, args, seen=seen: seen.append(args[0][mask_T])  # noqa: B023 (removed below)
                )
                for block, seen in zip(self.blocks, found, strict=True)
            ]
            try:
                self._selected(batch, batch["cluster_ids"])
            finally:
                for hook in hooks:
                    hook.remove()
            if sum(map(len, found[0])) >= MAX_OUTPUT_TOKENS:
                break
        return [torch.cat(seen)[:MAX_OUTPUT_TOKENS] for seen in found]


@contextmanager
def rerouted(blocks: Sequence[MultiGateMoE], reroute: Reroute) -> Iterator[None]:
    """Replace the router logits of all gates while the context lasts; the model's weights do not change."""

    def hook_of(block: MultiGateMoE) -> Any:
        def hook(gate: ClusterGate, args: tuple[Tensor, Tensor], output: Any) -> Any:
            logits_BSE = reroute(block.layer, gate, *args)
            top_BSK, selected_BSK = logits_BSE.topk(gate.top_k, dim=-1)
            return logits_BSE, selected_BSK, top_BSK.softmax(-1)

        return hook

    hooks = [block.gate.register_forward_hook(hook_of(block)) for block in blocks]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _TokenKinds:
    """Sorts the tokens of texts into `KINDS`; frequent are the fewest tokens that make up half of all words."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, batches: Sequence[Batch]):
        self.tokenizer = tokenizer
        scored = [batch["labels"][batch["labels"] != IGNORED].cpu().numpy() for batch in batches]
        ids, counts = np.unique(np.concatenate(scored), return_counts=True)
        self.end = tokenizer.eos_token_id
        words = np.array([any(map(str.isalnum, tokenizer.decode([int(i)]))) and i != self.end for i in ids], dtype=bool)
        self.punctuation = set(ids[~words].tolist())
        ids, counts = ids[words], counts[words]
        order = np.argsort(-counts, kind="stable")
        half = int(np.searchsorted(np.cumsum(counts[order]), counts.sum() / 2)) + 1
        self.frequent = set(ids[order][:half].tolist())

    def __call__(self, batch: Batch, features: Sequence[str | None]) -> np.ndarray:
        """Return the kind of each position as its index in `KINDS`, [B, S]; -1 outside the text and at its end."""
        labels_BS = batch["labels"].cpu().numpy()
        kind_BS = np.full(labels_BS.shape, -1)
        for row, feature in enumerate(features):
            named = set(encode_plain(self.tokenizer, [" " + feature])[0]) if feature else set()
            for place in np.flatnonzero((labels_BS[row] != IGNORED) & (labels_BS[row] != self.end)):
                kind_BS[row, place] = KINDS.index(self._kind(int(labels_BS[row, place]), named))
        return kind_BS

    def _kind(self, token: int, named: set[int]) -> str:
        if token in self.punctuation:
            return "punctuation"
        if token in named:
            return "feature"
        return "frequent" if token in self.frequent else "other"


def _logits(x_BSH: Tensor, gate_BEH: Tensor) -> Tensor:
    return x_BSH.float() @ gate_BEH.float().transpose(1, 2)


def _cosines(block: MultiGateMoE, x_TH: Tensor) -> np.ndarray:
    """Return the mean cosine of the outputs of every two experts of a block, [E, E]; 0 where an output is 0."""
    x_TH = x_TH[: max(1, MAX_OUTPUT_NUMBERS // (block.shape.experts * x_TH.shape[1]))]
    weight_T1 = torch.ones(len(x_TH), 1, device=x_TH.device)
    unit = []
    for expert in range(block.shape.experts):
        y_TH = block.experts(x_TH, torch.full((len(x_TH), 1), expert, device=x_TH.device), weight_T1).float()
        unit.append(y_TH / y_TH.norm(dim=-1, keepdim=True).clamp_min(1e-12))
    unit_ETH = torch.stack(unit)
    cosine_EE: np.ndarray = (torch.einsum("eth,fth->ef", unit_ETH, unit_ETH) / max(len(x_TH), 1)).cpu().numpy()
    return cosine_EE
