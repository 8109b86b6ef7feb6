"""The explainer's language model: any causal LM, its MLPs a multi-gate mixture, the pair as two soft tokens.

    prompt   <|user|> <|item|> ...        input embeddings; at the two marks stand the projected user and item vectors,
                                          and tokens of a stated fact may bear the vector of the mark that opens it
    blocks   gate of the pair's cluster   `cluster_ids` [batch] travels through forward and generate as a plain tensor
    loss     explanation and end token    plus, in training, load balance and router z loss

Shape suffixes: B batch, S sequence, H hidden, N users or items.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import CausalLMOutputWithPast

from gavamoe.distributed import all_reduce_sum
from gavamoe.explainer.configuration import GavamoeConfig
from gavamoe.explainer.soft_tokens import SoftToken
from gavamoe.language.encoding import IGNORED
from gavamoe.moe.block import RoutingState
from gavamoe.moe.convert import convert
from gavamoe.moe.losses import Total, balance_loss, z_loss


class GavamoePreTrainedModel(PreTrainedModel):
    """What transformers must know of the model."""

    config_class = GavamoeConfig
    base_model_prefix = "lm"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True

    def _init_weights(self, module: nn.Module) -> None:
        # Every part initialises itself when it is built, and a pretrained LM keeps what it was given: the published
        # code lost its user and item vectors to a second initialisation.
        return


class GavamoeForCausalLM(GavamoePreTrainedModel, GenerationMixin):
    """A causal LM whose feed-forward networks are experts gated by the pair's cluster."""

    def __init__(self, config: GavamoeConfig, base: PreTrainedModel | None = None):
        """Around `base`, whose FFNs become experts in place, as `config.initialisation` says; all new without one."""
        super().__init__(config)
        self.routing = RoutingState()
        self.lm = AutoModelForCausalLM.from_config(config.text_config) if base is None else base
        hidden = config.text_config.get_text_config().hidden_size
        with torch.device(self.lm.device):
            self.user_token = SoftToken(config.users + 1, config.side_width, hidden, config.dropout)
            self.item_token = SoftToken(config.items + 1, config.side_width, hidden, config.dropout)
        self.input_dropout = nn.Dropout(config.dropout)
        # What the LM ties is tied in the whole too; PEFT looks for it here.
        self._tied_weights_keys = {f"lm.{name}": f"lm.{to}" for name, to in (self.lm._tied_weights_keys or {}).items()}
        self.post_init()
        # The experts come last: the LM's own initialisation, which post_init runs, would write over some of them.
        # An adapter keeps the FFNs of a new model too: it is about to be loaded.
        initialisation = config.initialisation if base is not None or config.initialisation == "adapter" else "random"
        convert(self.lm, config.moe_shape(), self.routing, initialisation, config.partition, config.moe_layers)

    def get_input_embeddings(self) -> nn.Module:
        """The language model's own."""
        return self.lm.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Set the language model's own."""
        self.lm.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        """The language model's own."""
        return self.lm.get_output_embeddings()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        cluster_ids: Tensor | None = None,
        user_ids: Tensor | None = None,
        item_ids: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        logits_to_keep: int = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits [B, S, vocabulary], where `logits_to_keep` is not 0 of so many last places; with `labels` the loss.

        cluster_ids, user_ids, item_ids: [B]. The loss is the mean over scored tokens, labels [B, S] that are not -100
        (of `num_items_in_batch`, when gradients are accumulated); in training the router losses are added. With labels
        there are logits only from where the first scored token is foretold: those of a long prompt would be the most
        of the memory.
        """
        if cluster_ids is None:
            raise ValueError("forward needs cluster_ids [batch]: which gate each sequence takes")
        self.routing.begin(cluster_ids)
        if inputs_embeds is None:
            if input_ids is None:
                raise ValueError("forward needs input_ids or inputs_embeds")
            inputs_embeds = self._embed(input_ids, user_ids, item_ids)
        if labels is not None:
            logits_to_keep = labels.shape[1] - _first_scored(labels) + 1
        output = self.lm(
            inputs_embeds=self.input_dropout(inputs_embeds),
            attention_mask=attention_mask,
            position_ids=position_ids,
            cache=cache,
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
            **kwargs,
        )
        if labels is not None:
            output.loss = self._loss(output.logits, labels, attention_mask, num_items_in_batch)
        return output

    def _embed(self, input_ids_BS: Tensor, user_ids: Tensor | None, item_ids: Tensor | None) -> Tensor:
        x_BSH = self.get_input_embeddings()(input_ids_BS)
        for mark, token, ids in (
            (self.config.user_token_id, self.user_token, user_ids),
            (self.config.item_token_id, self.item_token, item_ids),
        ):
            if ids is not None:
                at_mark_BS1 = (input_ids_BS == mark).unsqueeze(-1)
                x_BSH = torch.where(at_mark_BS1, token(ids).unsqueeze(1).to(x_BSH.dtype), x_BSH)
        if self.config.fact_token_ids:
            fact_BS, opened_BS = _facts(input_ids_BS, self.config.fact_token_ids, self.config.text_token_id)
            x_BSH = x_BSH + fact_BS.unsqueeze(-1) * self.get_input_embeddings()(opened_BS)
        return x_BSH * self.config.embedding_scale

    def _loss(self, logits: Tensor, labels_BS: Tensor, mask_BS: Tensor | None, items: Tensor | int | None) -> Tensor:
        # The labels are shifted, not the logits: a slice of those would be copied whole.
        target_BS = nn.functional.pad(labels_BS[:, 1:], (0, 1), value=IGNORED)[:, -logits.shape[1] :]
        total = nn.functional.cross_entropy(
            logits.flatten(0, 1).float(), target_BS.flatten(), ignore_index=IGNORED, reduction="sum"
        )
        scored = (target_BS != IGNORED).sum()
        if items is None:
            loss = total / scored.clamp_min(1)
            return loss + self.router_loss(mask_BS) if self.training else loss
        loss = total / items
        # Of the batches (of processes, of accumulated steps) that make up `items`, each adds its part of the whole.
        part = all_reduce_sum(scored) / items
        return loss + part * self.router_loss(mask_BS, all_reduce_sum) if self.training else loss

    def router_loss(self, mask_BS: Tensor | None, total: Total = lambda x: x) -> Tensor:
        """Weighted load balance and z loss of the last forward, a mean over layers; scalar. `total`: see `losses`."""
        losses = []
        for layer, logits_BSE in self.routing.logits.items():
            mask = torch.ones_like(logits_BSE[..., 0]) if mask_BS is None else mask_BS[:, -logits_BSE.shape[1] :]
            balance = balance_loss(logits_BSE, self.routing.selected[layer], mask, total)
            losses.append(self.config.balance_weight * balance + self.config.z_weight * z_loss(logits_BSE, mask, total))
        return torch.stack(losses).mean()


def _facts(ids_BS: Tensor, opening: list[int], closing: int) -> tuple[Tensor, Tensor]:
    """Which places of a prompt [B, S] belong to a fact, and what stands at the last mark before each place."""
    mark_BS = ids_BS == closing
    for mark in opening:
        mark_BS = mark_BS | (ids_BS == mark)
    place_S = torch.arange(ids_BS.shape[1], device=ids_BS.device)
    last_BS = place_S.where(mark_BS, -1).cummax(1).values
    opened_BS = ids_BS.gather(1, last_BS.clamp_min(0))
    return (last_BS >= 0) & ~mark_BS & (opened_BS != closing), opened_BS


def _first_scored(labels_BS: Tensor) -> int:
    """The first place of the batch that holds a scored token; 0 where none does."""
    return int((labels_BS != IGNORED).any(0).int().argmax())


AutoModelForCausalLM.register(GavamoeConfig, GavamoeForCausalLM)
