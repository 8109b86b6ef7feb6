"""XRec (Ma et al. 2024, "XRec: Large Language Models for Explainable Recommendation").

    graph     LightGCN, trained to rank, gives every user and item a vector; it is fixed from then on
    adapter   a mixture of linear experts, a gate over the vector, brings it to the LM's width
    LM        frozen; at the two places of user and item, the adapted vectors stand at the input and, again, before the
              attention of every layer

Only the adapters learn. With a base model the places stand among the words of an instruction; an LM that has read
nothing but the corpus never saw such words, and gets none.
Shape suffixes: B batch, P prompt, G graph vector, E experts, H hidden, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gavamoe.baselines import lightgcn
from gavamoe.baselines.batches import Batch
from gavamoe.baselines.data import TextData
from gavamoe.baselines.language_model import LM_PRETRAINING, LanguageModel, State
from gavamoe.baselines.text_model import Losses, Phase, TextModel, text_loss
from gavamoe.errors import ConfigError

EXPERTS, GRAPH_WIDTH = 8, 64
INSTRUCTION = ("The user", "would enjoy the item", "for this reason:")


class Adapter(nn.Module):
    """Experts, each linear, weighted by a gate that is noisy in training (Shazeer et al. 2017)."""

    def __init__(self, graph: int, hidden: int, dropout: float, std: float):
        super().__init__()
        self.gate, self.noise = nn.Linear(graph, EXPERTS, bias=False), nn.Linear(graph, EXPERTS, bias=False)
        self.experts = nn.Parameter(torch.randn(EXPERTS, graph, hidden) * std * graph**-0.5)
        self.shift = nn.Parameter(torch.zeros(EXPERTS, graph))
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.noise.weight)

    def forward(self, x_BG: Tensor) -> Tensor:
        """[B, G] -> [B, H]."""
        scores_BE = self.gate(x_BG)
        if self.training:
            scores_BE = scores_BE + torch.randn_like(scores_BE) * nn.functional.softplus(self.noise(x_BG))
        shifted_BEG = self.dropout(x_BG)[:, None] - self.shift
        return torch.einsum("be,beg,egh->bh", scores_BE.softmax(-1), shifted_BEG, self.experts)


class XRec(TextModel):
    """A frozen LM that is told of the pair in every layer; predicts no rating."""

    users_NG: Tensor
    items_NG: Tensor

    def __init__(self, data: TextData, width: int, graph: tuple[Tensor, Tensor]):
        super().__init__()
        self.language = LanguageModel(data, width)
        # Saved with the adapters, which fit these vectors and no others.
        self.register_buffer("users_NG", graph[0])
        self.register_buffer("items_NG", graph[1])
        hidden, dropout = self.language.hidden, data.config.dropout
        words = self.language.lm.get_input_embeddings().weight.detach()
        std = 1.0 if self.language.own else float(words.std())  # as long as the vectors beside them
        self.user, self.item = (Adapter(graph[0].shape[1], hidden, dropout, std) for _ in range(2))
        adapting = Phase("adapters", learning_rate=1e-2, prefixes=("user.", "item."))
        self.phases = (*((LM_PRETRAINING,) if self.language.own else ()), adapting)
        told = [data.of_base.words(part) if not self.language.own else [] for part in INSTRUCTION]
        self.before, self.between, self.after = (torch.tensor(ids, dtype=torch.long) for ids in told)
        self.places = (len(told[0]), len(told[0]) + 1 + len(told[1]))
        self.adapted: tuple[Tensor, Tensor] | None = None  # of the batch whose prompt is being read
        for attention in attentions(self.language.lm):
            attention.register_forward_pre_hook(self._inject, with_kwargs=True)

    def losses(self, batch: Batch, phase: str) -> Losses:
        """Cross-entropy of the texts alone."""
        if phase == LM_PRETRAINING.name:
            return self.language.reading_losses(batch)
        text, tokens = text_loss(self._told(batch, self.language.text_logits, batch), batch.text_BT)
        return Losses(text, 0.0, tokens)

    def begin(self, batch: Batch) -> tuple[Tensor, State]:
        """The prompt and the start token."""
        return self._told(batch, self.language.begin)

    def step(self, token_B: Tensor, state: State) -> tuple[Tensor, State]:
        """One word further."""
        return self.language.step(token_B, state)

    def size(self) -> int:
        """With the graph's vectors, which are learned too."""
        return super().size() + self.users_NG.numel() + self.items_NG.numel()

    def _told(self, batch: Batch, read: Any, *arguments: Any) -> Any:
        """`read(prompt, ...)` with the pair's vectors injected."""
        user_BH, item_BH = self.user(self.users_NG[batch.user_B]), self.item(self.items_NG[batch.item_B])
        device = user_BH.device
        before, between, after = (
            self.language.embed(ids.to(device)).expand(len(batch), -1, -1)
            for ids in (self.before, self.between, self.after)
        )
        prompt_BPH = torch.cat([before, user_BH[:, None], between, item_BH[:, None], after], dim=1)
        self.adapted = (user_BH, item_BH)
        try:
            return read(prompt_BPH, *arguments)
        finally:
            self.adapted = None

    def _inject(self, attention: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Before a layer's attention: its input at the pair's places becomes the adapted vectors."""
        if self.adapted is None:
            return None
        x_BSH = args[0] if args else kwargs["hidden_states"]
        x_BSH = x_BSH.clone()
        for place, vector_BH in zip(self.places, self.adapted, strict=True):
            x_BSH[:, place] = vector_BH.to(x_BSH.dtype)
        return ((x_BSH, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": x_BSH})


def graph_vectors(data: TextData, seed: int) -> tuple[Tensor, Tensor]:
    """LightGCN's vectors at unit variance: users [users + 1, G] and items [items + 1, G]."""
    dataset = data.dataset
    train, valid = dataset.arrays("train"), dataset.arrays("valid")
    model = lightgcn.fit(train, valid, data.users, data.items, "ranking", seed, GRAPH_WIDTH)
    with torch.no_grad():
        users_NG, items_NG = ((v - v.mean(0)) / v.std(0).clamp_min(1e-6) for v in model.propagate())
    return users_NG, items_NG


def attentions(lm: nn.Module) -> list[nn.Module]:
    """The attention of each layer of a Hugging Face LM."""
    found = [module for name, module in lm.named_modules() if name.endswith((".self_attn", ".attn", ".attention"))]
    if not found:
        raise ConfigError(f"XRec finds no attention layers in a {type(lm).__name__}; choose another --base-model")
    return found
