"""XRec (Ma et al. 2024, "XRec: Large Language Models for Explainable Recommendation").

    graph     LightGCN embeddings of users and items, trained to rank and then frozen
    adapter   a gated mixture of linear experts that maps a graph embedding to the LM's width
    LM        frozen; at the positions of user and item, the adapted embeddings replace the input of the first layer
              and, again, the input of every layer's attention

Only the adapters are trained. With a base model the two positions are part of an instruction. An LM that was trained
on the corpus alone never saw such words, so its prompt has the two positions only.
Shape suffixes: B batch, P prompt, G graph embedding, E experts, H hidden, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gavamoe.baselines import lightgcn
from gavamoe.baselines.data import TextBatch, TextData
from gavamoe.baselines.language_model import LM_PRETRAINING, LanguageModel, LMState
from gavamoe.baselines.text_model import Losses, Phase, TextModel, text_loss
from gavamoe.errors import ConfigError

EXPERTS, GRAPH_WIDTH = 8, 64
# Of the adapters. Around SmolLM2, 32 steps of 8 reviews end at a validation loss of 4.81 with 1e-3 and 5.14 with 1e-2.
SCRATCH_LEARNING_RATE, BASE_LEARNING_RATE = 1e-2, 1e-3
INSTRUCTION = ("The user", "would enjoy the item", "for this reason:")


class Adapter(nn.Module):
    """A mixture of linear experts; the gate is noisy in training (Shazeer et al. 2017).

    Args:
        graph: width of a graph embedding, G.
        hidden: width of the LM, H.
        dropout: dropout probability of a graph embedding's dimensions.
        scale: standard deviation of the LM's word embeddings. The output has this scale, and the experts' weights do
            not: a learning rate then changes them by the same share for every LM.
    """

    def __init__(self, graph: int, hidden: int, dropout: float, scale: float):
        super().__init__()
        self.scale = scale
        self.gate, self.noise = nn.Linear(graph, EXPERTS, bias=False), nn.Linear(graph, EXPERTS, bias=False)
        self.experts = nn.Parameter(torch.randn(EXPERTS, graph, hidden) * graph**-0.5)
        self.shift = nn.Parameter(torch.zeros(EXPERTS, graph))
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.noise.weight)

    def forward(self, x_BG: Tensor) -> Tensor:
        """Map graph embeddings [B, G] to embeddings of the LM [B, H]."""
        scores_BE = self.gate(x_BG)
        if self.training:
            scores_BE = scores_BE + torch.randn_like(scores_BE) * nn.functional.softplus(self.noise(x_BG))
        shifted_BEG = self.dropout(x_BG)[:, None] - self.shift
        return self.scale * torch.einsum("be,beg,egh->bh", scores_BE.softmax(-1), shifted_BEG, self.experts)


class XRec(TextModel):
    """A frozen LM that receives the pair's embeddings in every layer; it predicts no rating."""

    users_NG: Tensor
    items_NG: Tensor

    def __init__(self, data: TextData, width: int, graph: tuple[Tensor, Tensor]):
        super().__init__()
        self.language = LanguageModel(data, width)
        # Saved with the adapters, which were trained on these embeddings.
        self.register_buffer("users_NG", graph[0])
        self.register_buffer("items_NG", graph[1])
        hidden, dropout = self.language.hidden, data.config.dropout
        words = self.language.lm.get_input_embeddings().weight.detach()
        scale = 1.0 if self.language.from_scratch else float(words.std())
        self.user, self.item = (Adapter(graph[0].shape[1], hidden, dropout, scale) for _ in range(2))
        learning_rate = SCRATCH_LEARNING_RATE if self.language.from_scratch else BASE_LEARNING_RATE
        adapting = Phase("adapters", learning_rate, prefixes=("user.", "item."))
        self.phases = (*((LM_PRETRAINING,) if self.language.from_scratch else ()), adapting)
        encode = data.base_vocabulary.encode_words
        instruction = [encode(part) if not self.language.from_scratch else [] for part in INSTRUCTION]
        self.before, self.between, self.after = (torch.tensor(ids, dtype=torch.long) for ids in instruction)
        self.positions = (len(instruction[0]), len(instruction[0]) + 1 + len(instruction[1]))
        self.adapted: tuple[Tensor, Tensor] | None = None  # of the batch whose prompt is being processed
        for attention in attention_modules(self.language.lm):
            attention.register_forward_pre_hook(self._inject, with_kwargs=True)

    def losses(self, batch: TextBatch, phase: str) -> Losses:
        """Return the cross-entropy of the texts; there is no other task."""
        if phase == LM_PRETRAINING.name:
            return self.language.pretraining_losses(batch)
        text, tokens = text_loss(self._with_pair(batch, self.language.text_logits, batch), batch.text_BT)
        return Losses(text, 0.0, tokens)

    def prefill(self, batch: TextBatch) -> tuple[Tensor, LMState]:
        """Process the prompt and the start token."""
        return self._with_pair(batch, self.language.prefill)

    def decode_step(self, token_B: Tensor, state: LMState) -> tuple[Tensor, LMState]:
        """Process one token with the LM."""
        return self.language.decode_step(token_B, state)

    def num_parameters(self) -> int:
        """Return the number of parameters, including the graph embeddings, which are trained too."""
        return super().num_parameters() + self.users_NG.numel() + self.items_NG.numel()

    def _with_pair(self, batch: TextBatch, forward: Any, *arguments: Any) -> Any:
        """Return forward(prompt, ...) with the pair's embeddings injected into every layer."""
        user_BH, item_BH = self.user(self.users_NG[batch.user_B]), self.item(self.items_NG[batch.item_B])
        device = user_BH.device
        before, between, after = (
            self.language.embed(ids.to(device)).expand(len(batch), -1, -1)
            for ids in (self.before, self.between, self.after)
        )
        prompt_BPH = torch.cat([before, user_BH[:, None], between, item_BH[:, None], after], dim=1)
        self.adapted = (user_BH, item_BH)
        try:
            return forward(prompt_BPH, *arguments)
        finally:
            self.adapted = None

    def _inject(self, attention: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Replace the attention's input at the pair's positions with the adapted embeddings; a forward pre-hook."""
        if self.adapted is None:
            return None
        x_BSH = args[0] if args else kwargs["hidden_states"]
        x_BSH = x_BSH.clone()
        for position, vector_BH in zip(self.positions, self.adapted, strict=True):
            x_BSH[:, position] = vector_BH.to(x_BSH.dtype)
        return ((x_BSH, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": x_BSH})


def graph_embeddings(data: TextData, seed: int) -> tuple[Tensor, Tensor]:
    """Train LightGCN and return its embeddings at unit variance: users [users + 1, G] and items [items + 1, G]."""
    train, valid = data.interactions()
    model = lightgcn.fit(train, valid, data.users, data.items, "ranking", seed, GRAPH_WIDTH)
    with torch.no_grad():
        users_NG, items_NG = ((v - v.mean(0)) / v.std(0).clamp_min(1e-6) for v in model.propagate())
    return users_NG, items_NG


def attention_modules(lm: nn.Module) -> list[nn.Module]:
    """Return the attention module of each layer of a Hugging Face LM.

    Raises:
        ConfigError: no module has a name that attention usually has.
    """
    found = [module for name, module in lm.named_modules() if name.endswith((".self_attn", ".attn", ".attention"))]
    if not found:
        raise ConfigError(f"XRec finds no attention layers in a {type(lm).__name__}; choose another --base-model")
    return found
