"""Configuration of the explainer's language model, as transformers keeps it (config.json)."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, PretrainedConfig

from gavamoe.moe.block import MoEShape
from gavamoe.moe.initialise import Initialisation, Partition


class GavamoeConfig(PretrainedConfig):
    """A causal LM's own configuration (`text_config`), the experts that replace its MLPs, and the pair's soft tokens.

    experts, experts_per_token and expert_width are sizes after refinement; routing_scale is what the weights of the
    selected experts sum to. initialisation, partition: what the experts start from when the model is built around a
    base (`gavamoe.moe.initialise`). moe_layers: which decoder layers have experts (all when None). users and items
    count the known ones; side_width is the width of the user and item vectors. fact_token_ids: the marks whose vector
    is added to the tokens of the fact that they open, up to the next or to text_token_id (as segments are marked in
    TransferTransfo, Wolf et al. 2019); without them a few layers take long to learn which word was the feature. None
    around a base, which has read in context before. embedding_scale multiplies what the layers read, tokens and pair
    alike. evidence: how many sentences the prompt quotes.
    """

    model_type = "gavamoe"
    sub_configs = {"text_config": AutoConfig}  # noqa: RUF012 - transformers' own way

    def __init__(
        self,
        text_config: PretrainedConfig | dict[str, Any] | None = None,
        clusters: int = 5,
        experts: int = 8,
        experts_per_token: int = 4,
        expert_width: int = 128,
        shared_experts: int = 0,
        routing_scale: float = 1.0,
        initialisation: Initialisation = "random",
        partition: Partition = "random",
        moe_layers: list[int] | None = None,
        users: int = 1,
        items: int = 1,
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
        **kwargs: Any,
    ):
        inner: PretrainedConfig = (
            AutoConfig.for_model(**text_config)
            if isinstance(text_config, dict)
            else text_config or AutoConfig.for_model("llama")
        )
        self.text_config = inner
        self.clusters, self.experts, self.experts_per_token = clusters, experts, experts_per_token
        self.expert_width, self.shared_experts, self.routing_scale = expert_width, shared_experts, routing_scale
        self.initialisation, self.partition, self.moe_layers = initialisation, partition, moe_layers
        self.users, self.items, self.side_width = users, items, side_width
        self.user_token_id, self.item_token_id = user_token_id, item_token_id
        self.fact_token_ids, self.text_token_id = fact_token_ids or [], text_token_id
        self.balance_weight, self.z_weight = balance_weight, z_weight
        self.dropout, self.router_jitter, self.embedding_scale = dropout, router_jitter, embedding_scale
        self.evidence = evidence
        kwargs.setdefault("tie_word_embeddings", inner.tie_word_embeddings)
        super().__init__(**kwargs)

    @property
    def vocabulary(self) -> int:
        """How many tokens the LM knows."""
        return int(self.text_config.get_text_config().vocab_size)

    def moe_shape(self) -> MoEShape:
        """Sizes of every block."""
        return MoEShape(
            clusters=self.clusters,
            experts=self.experts,
            top_k=self.experts_per_token,
            width=self.expert_width,
            shared_experts=self.shared_experts,
            dropout=self.dropout,
            jitter=self.router_jitter,
            scale=self.routing_scale,
        )


AutoConfig.register("gavamoe", GavamoeConfig)
