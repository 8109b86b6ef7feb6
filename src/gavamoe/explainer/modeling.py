"""Stage 2's language model: any causal LM whose MLPs are multi-gate mixtures of experts, the pair as two soft tokens.

    prompt   <|user|> <|item|> ...        input embeddings; soft tokens replace the two special tokens, and tokens of
                                          a field may have the embedding of its opening token added
    blocks   gate of the pair's cluster   `cluster_ids` [batch] travels through forward and generate as a plain tensor
    loss     explanation and end token    plus, in training, load balance and router z loss

Shape suffixes: B batch, S sequence, H hidden, L layers, E experts, K selected experts, N users or items.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import CausalLMOutputWithPast

from gavamoe.distributed import all_reduce_sum, cpu_prefers_bf16
from gavamoe.explainer.chunked_loss import summed_cross_entropy
from gavamoe.explainer.configuration import GavamoeConfig
from gavamoe.explainer.soft_tokens import SoftToken
from gavamoe.language.encoding import IGNORED
from gavamoe.language.grouped_attention import GROUPED_PRODUCTS
from gavamoe.moe.block import RoutingState
from gavamoe.moe.convert import convert, text_decoder
from gavamoe.moe.losses import Total, balance_loss, z_loss


class GavamoePreTrainedModel(PreTrainedModel):
    """What transformers reads of a model class."""

    config_class = GavamoeConfig
    base_model_prefix = "lm"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True

    def _init_weights(self, module: nn.Module) -> None:
        # Every part initialises itself when it is built, and a pretrained LM keeps its weights. In the published code,
        # a second initialisation overwrote the user and item vectors.
        return


class GavamoeForCausalLM(GavamoePreTrainedModel, GenerationMixin):
    """A causal LM whose feed-forward networks are experts gated by the pair's cluster.

    Attributes:
        routing: what the model and its blocks exchange in a forward pass.
        loss_in_chunks: whether a call that needs the loss alone computes the logits of scored tokens only, in chunks.
    """

    def __init__(self, config: GavamoeConfig, base: PreTrainedModel | None = None):
        """Build the model around `base`, whose FFNs are replaced in place, or all new without one."""
        super().__init__(config)
        self.routing = RoutingState()
        self.loss_in_chunks = False
        self.lm = (
            AutoModelForCausalLM.from_config(config.text_config, trust_remote_code=False) if base is None else base
        )
        with torch.device(self.lm.device):
            sizes = (config.side_width, config.width, config.dropout)
            self.user_token = SoftToken(config.users + 1, *sizes, config.user_rows)
            self.item_token = SoftToken(config.items + 1, *sizes)
        self.input_dropout = nn.Dropout(config.dropout)
        # The LM's tied weights stay tied in the whole model; PEFT reads this attribute.
        self._tied_weights_keys = {f"lm.{name}": f"lm.{to}" for name, to in (self.lm._tied_weights_keys or {}).items()}
        self.post_init()
        # Experts are created last: post_init runs the LM's own initialisation, which would overwrite some of them.
        # `adapter` keeps the dense FFNs even without a base, because a saved model has them and is about to be loaded.
        initialisation = config.initialisation if base is not None or config.initialisation == "adapter" else "random"
        convert(self.lm, config.moe_shape(), self.routing, initialisation, config.partition, config.moe_layers)

    def get_input_embeddings(self) -> nn.Module:
        """Return the input embeddings of the causal LM."""
        return self.lm.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Set the input embeddings of the causal LM."""
        self.lm.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        """Return the output embeddings of the causal LM."""
        return self.lm.get_output_embeddings()

    def suit_cpu(self) -> None:
        """On a CPU, choose the precision and the attention that are fast for a model in bf16; no value changes.

        A model that a CPU computes faster in float32 (`cpu_prefers_bf16`) becomes float32 and takes twice the memory.
        """
        if self.device.type == "cpu" and self.dtype == torch.bfloat16 and not cpu_prefers_bf16(self.config.width):
            self.float()
        self.use_fast_attention()

    def use_fast_attention(self) -> None:
        """In bf16 on a CPU, replace torch's fused attention; an LM that attends in another way keeps it."""
        decoder: Any = text_decoder(self.lm)  # nn.Module types its attributes as tensors or modules
        in_bf16 = self.device.type == "cpu" and self.dtype == torch.bfloat16
        if in_bf16 and decoder.config._attn_implementation == "sdpa":
            decoder.set_attn_implementation(GROUPED_PRODUCTS)

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
        loss_only: bool = False,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Return logits [B, S, vocabulary] and, with `labels`, the loss.

        Args:
            input_ids: [B, S].
            attention_mask: [B, S], 0 at padding.
            position_ids: [B, S].
            cache: keys and values of earlier tokens.
            inputs_embeds: [B, S, H], instead of `input_ids`; soft tokens are then already in them.
            labels: [B, S], -100 where the loss ignores a token. Logits are then computed only from the position that
                predicts the first scored token, since those of a long prompt would take most of the memory.
            use_cache: whether to return a cache.
            cluster_ids: [B], the gate of each sequence.
            user_ids: [B], 0 for unknown; None leaves the special token's own embedding.
            item_ids: [B], likewise.
            num_items_in_batch: number of scored tokens of the whole step if batches or processes share it. The loss is
                the sum over this batch's scored tokens divided by it; without it, their mean.
            logits_to_keep: number of last positions with logits; 0 is all.
            loss_only: whether the logits may be left out where there is a loss, as in training.
            kwargs: passed to the causal LM.

        Returns:
            Logits, cache and loss. In training, the router losses are added to the loss.

        Raises:
            ValueError: `cluster_ids` or the input is missing.
        """
        if cluster_ids is None:
            raise ValueError("forward needs cluster_ids [batch]: the gate of each sequence")
        self.routing.begin(cluster_ids)
        if inputs_embeds is None:
            if input_ids is None:
                raise ValueError("forward needs input_ids or inputs_embeds")
            inputs_embeds = self._embed(input_ids, user_ids, item_ids)
        inputs = {
            "inputs_embeds": self.input_dropout(inputs_embeds),
            "attention_mask": attention_mask,
            "position_ids": position_ids,
            "use_cache": use_cache if labels is None else False,  # a loss reads no keys and values of earlier calls
            **kwargs,
        }
        if labels is not None and (loss_only or self.training) and self.loss_in_chunks:
            states_BSH = self.lm.get_decoder()(**inputs).last_hidden_state
            return CausalLMOutputWithPast(
                loss=self._chunked_loss(states_BSH, labels, attention_mask, num_items_in_batch)
            )
        if labels is not None:
            logits_to_keep = labels.shape[1] - _first_scored(labels) + 1
        output = self.lm(cache=cache, logits_to_keep=logits_to_keep, **inputs)
        if labels is not None:
            output.loss = self._loss(output.logits, labels, attention_mask, num_items_in_batch)
        return output

    def _embed(self, input_ids_BS: Tensor, user_ids: Tensor | None, item_ids: Tensor | None) -> Tensor:
        """Return input embeddings with soft tokens and field embeddings, [B, S, H]."""
        x_BSH = self.get_input_embeddings()(input_ids_BS)
        for token_id, soft_token, ids in (
            (self.config.user_token_id, self.user_token, user_ids),
            (self.config.item_token_id, self.item_token, item_ids),
        ):
            if ids is not None:
                is_soft_BS1 = (input_ids_BS == token_id).unsqueeze(-1)
                x_BSH = torch.where(is_soft_BS1, soft_token(ids).unsqueeze(1).to(x_BSH.dtype), x_BSH)
        if self.config.fact_token_ids:
            in_field_BS, opening_BS = _fields(input_ids_BS, self.config.fact_token_ids, self.config.text_token_id)
            x_BSH = x_BSH + in_field_BS.unsqueeze(-1) * self.get_input_embeddings()(opening_BS)
        return x_BSH * self.config.embedding_scale

    def _loss(self, logits: Tensor, labels_BS: Tensor, mask_BS: Tensor | None, items: Tensor | int | None) -> Tensor:
        # The labels are shifted instead of the logits, because slicing the logits would copy them.
        target_BS = nn.functional.pad(labels_BS[:, 1:], (0, 1), value=IGNORED)[:, -logits.shape[1] :]
        total = nn.functional.cross_entropy(
            logits.flatten(0, 1).float(), target_BS.flatten(), ignore_index=IGNORED, reduction="sum"
        )
        return self._with_router_loss(total, (target_BS != IGNORED).sum(), mask_BS, items)

    def _chunked_loss(
        self, states_BSH: Tensor, labels_BS: Tensor, mask_BS: Tensor | None, items: Tensor | int | None
    ) -> Tensor:
        target_BS = labels_BS[:, 1:]
        is_scored_BS = target_BS != IGNORED
        head, states_NH = self.lm.get_output_embeddings(), states_BSH[:, :-1][is_scored_BS]
        total = summed_cross_entropy(head, states_NH, target_BS[is_scored_BS], self.config.vocabulary)
        return self._with_router_loss(total, is_scored_BS.sum(), mask_BS, items)

    def _with_router_loss(
        self, total: Tensor, scored: Tensor, mask_BS: Tensor | None, items: Tensor | int | None
    ) -> Tensor:
        """Return the loss of a step from the summed cross-entropy of its scored tokens."""
        if items is None:
            loss = total / scored.clamp_min(1)
            return loss + self.router_loss(mask_BS) if self.training else loss
        loss = total / items
        # Several batches (of processes, accumulated) make up `items`; each adds router losses by its share of them.
        share = all_reduce_sum(scored) / items
        return loss + share * self.router_loss(mask_BS, all_reduce_sum) if self.training else loss

    def router_loss(self, mask_BS: Tensor | None, total: Total = lambda x: x) -> Tensor:
        """Return the weighted load-balancing and z losses of the last forward, the mean over layers; scalar.

        Args:
            mask_BS: attention mask; None counts every token.
            total: sums a statistic over processes (`gavamoe.moe.losses`).
        """
        if not self.routing.logits:
            return torch.zeros((), device=self.device)
        # All layers at once: a loss for each would be some twenty small kernels per layer.
        logits_LBSE = torch.stack(list(self.routing.logits.values()))
        selected_LBSK = torch.stack(list(self.routing.selected.values()))
        mask = torch.ones_like(logits_LBSE[0, ..., 0]) if mask_BS is None else mask_BS[:, -logits_LBSE.shape[2] :]
        balance_L, z_L = balance_loss(logits_LBSE, selected_LBSK, mask, total), z_loss(logits_LBSE, mask, total)
        return (self.config.balance_weight * balance_L + self.config.z_weight * z_L).mean()


def _fields(ids_BS: Tensor, opening_ids: list[int], closing_id: int) -> tuple[Tensor, Tensor]:
    """Return which positions are inside a field of the prompt, and the token that opens their field, each [B, S]."""
    is_boundary_BS = ids_BS == closing_id
    for opening_id in opening_ids:
        is_boundary_BS = is_boundary_BS | (ids_BS == opening_id)
    position_S = torch.arange(ids_BS.shape[1], device=ids_BS.device)
    last_boundary_BS = position_S.where(is_boundary_BS, -1).cummax(1).values
    opening_BS = ids_BS.gather(1, last_boundary_BS.clamp_min(0))
    return (last_boundary_BS >= 0) & ~is_boundary_BS & (opening_BS != closing_id), opening_BS


def _first_scored(labels_BS: Tensor) -> int:
    """Return the first position with a scored token in any sequence; 0 if there is none."""
    return int((labels_BS != IGNORED).any(0).int().argmax())


AutoModelForCausalLM.register(GavamoeConfig, GavamoeForCausalLM)
