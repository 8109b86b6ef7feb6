"""Configuration of stage 2's language model, stored by transformers in config.json."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, PretrainedConfig

from gavamoe.moe.block import MoEShape
from gavamoe.moe.initialise import Initialisation, Partition


class GavamoeConfig(PretrainedConfig):
    """A causal LM's own configuration, the experts that replace its MLPs, and the pair's soft tokens.

    The names are keys of config.json.

    Args:
        text_config: configuration of the causal LM.
        clusters: number of gates per layer.
        experts: experts per layer, after refinement.
        experts_per_token: experts selected for a token, after refinement.
        expert_width: neurons of an expert, after refinement.
        shared_experts: refined experts that every token passes through.
        routing_scale: what the weights of the selected experts sum to.
        shared_scale: weight of each shared expert.
        initialisation: what the experts start from when the model is built around a base (`gavamoe.moe.initialise`).
        partition: how `initialisation="partition"` divides a dense FFN's neurons.
        moe_layers: decoder layers that have experts, counted from 0; None is all, [] is none.
        users: number of known users.
        items: number of known items.
        user_rows: number of different vectors of users, without the unknown's; None gives each user its own.
        side_width: width of the vectors behind the soft tokens.
        user_token_id: the token that the user's soft token replaces.
        item_token_id: the token that the item's soft token replaces.
        fact_token_ids: special tokens that open a field of the prompt. The embedding of the opening token is added to
            every token of its field, as segments are marked in TransferTransfo (Wolf et al. 2019). A small model from
            scratch otherwise takes long to learn which word was the feature. Empty around a base, which was pretrained
            to read in context.
        text_token_id: the special token after which the explanation starts; it closes the last field.
        balance_weight: weight of the load-balancing loss.
        z_weight: weight of the router z loss.
        dropout: dropout probability of inputs, vectors and experts.
        router_jitter: in training, a gate's inputs are multiplied by 1 +- this.
        embedding_scale: multiplies the input embeddings, soft tokens included.
        evidence: sentences by others that a prompt quotes.
        history: sentences by the user that a prompt in words quotes.
    """

    model_type = "gavamoe"
    sub_configs = {"text_config": AutoConfig}  # noqa: RUF012 - transformers reads a class attribute

    def __init__(
        self,
        text_config: PretrainedConfig | dict[str, Any] | None = None,
        clusters: int = 5,
        experts: int = 8,
        experts_per_token: int = 4,
        expert_width: int = 128,
        shared_experts: int = 0,
        routing_scale: float = 1.0,
        shared_scale: float = 1.0,
        initialisation: Initialisation = "random",
        partition: Partition = "random",
        moe_layers: list[int] | None = None,
        users: int = 1,
        items: int = 1,
        user_rows: int | None = None,
        side_width: int = 32,
        user_token_id: int = 0,
        item_token_id: int = 1,
        fact_token_ids: list[int] | None = None,
        text_token_id: int = 2,
        balance_weight: float = 0.01,
        z_weight: float = 0.001,
        dropout: float = 0.0,
        router_jitter: float = 0.0,
        embedding_scale: float = 1.0,
        evidence: int = 0,
        history: int = 0,
        **kwargs: Any,
    ):
        inner: PretrainedConfig = (
            AutoConfig.for_model(**text_config)
            if isinstance(text_config, dict)
            else text_config or AutoConfig.for_model("llama")
        )
        self.text_config = inner
        self.clusters, self.experts, self.experts_per_token = clusters, experts, experts_per_token
        self.expert_width, self.shared_experts = expert_width, shared_experts
        self.routing_scale, self.shared_scale = routing_scale, shared_scale
        self.initialisation, self.partition, self.moe_layers = initialisation, partition, moe_layers
        self.users, self.items, self.user_rows, self.side_width = users, items, user_rows, side_width
        self.user_token_id, self.item_token_id = user_token_id, item_token_id
        self.fact_token_ids, self.text_token_id = fact_token_ids or [], text_token_id
        self.balance_weight, self.z_weight = balance_weight, z_weight
        self.dropout, self.router_jitter, self.embedding_scale = dropout, router_jitter, embedding_scale
        self.evidence, self.history = evidence, history
        kwargs.setdefault("tie_word_embeddings", inner.tie_word_embeddings)
        super().__init__(**kwargs)

    @property
    def vocabulary(self) -> int:
        """Number of tokens of the LM."""
        return int(self.text_config.get_text_config().vocab_size)

    @property
    def width(self) -> int:
        """H, the width of the causal LM."""
        return int(self.text_config.get_text_config().hidden_size)

    def moe_shape(self) -> MoEShape:
        """Return the sizes of every mixture-of-experts block."""
        return MoEShape(
            clusters=self.clusters,
            experts=self.experts,
            top_k=self.experts_per_token,
            width=self.expert_width,
            shared_experts=self.shared_experts,
            dropout=self.dropout,
            jitter=self.router_jitter,
            scale=self.routing_scale,
            shared_scale=self.shared_scale,
        )


AutoConfig.register("gavamoe", GavamoeConfig)
