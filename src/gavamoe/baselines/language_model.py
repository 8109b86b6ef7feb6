"""The causal LM inside PEPLER and XRec: any of Hugging Face's, or a small one that first reads the corpus' texts.

    sequence   prompt (vectors of the caller's), start, words

Without a base model a Llama of the same depth as GaVaMoE's is trained on the training texts alone, with no user or
item in sight: it stands for the pretrained LM of the papers.
Shape suffixes: B batch, T text, P prompt, S positions, H hidden, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, LlamaConfig

from gavamoe.baselines.batches import Batch
from gavamoe.baselines.data import TextData
from gavamoe.baselines.text_model import Losses, Phase, shifted, text_loss
from gavamoe.language.base_model import extend_vocabulary, load_base

LM_PRETRAINING = Phase("language", learning_rate=2e-3, prefixes=("language.",))


@dataclass
class State:
    """Keys and values of what has been read, and which places hold something, [B, S]."""

    cache: Any
    mask_BS: Tensor


class LanguageModel(nn.Module):
    """Reads vectors, gives logits; `hidden` is their width."""

    def __init__(self, data: TextData, width: int):
        super().__init__()
        vocabulary, config = data.of_base, data.config
        self.start, self.pad = vocabulary.start, vocabulary.pad
        self.own = data.base_model is None
        if data.base_model is None:
            self.lm = AutoModelForCausalLM.from_config(
                LlamaConfig(
                    vocab_size=vocabulary.size,
                    hidden_size=width,
                    intermediate_size=3 * width,
                    num_hidden_layers=config.layers,
                    num_attention_heads=config.heads,
                    num_key_value_heads=config.heads,
                    max_position_embeddings=1024,
                    tie_word_embeddings=True,
                    initializer_range=width**-0.5,
                    pad_token_id=vocabulary.pad,
                    bos_token_id=None,
                    eos_token_id=vocabulary.end,
                )
            )
        else:
            self.lm = load_base(data.base_model, torch.float32)
            extend_vocabulary(self.lm, vocabulary.size, list(vocabulary.new_ids))
        self.hidden = int(self.lm.get_input_embeddings().weight.shape[1])
        # From scratch, what is read has unit variance; its tied output vectors must be short.
        self.scale = self.hidden**0.5 if self.own else 1.0
        self.dropout = nn.Dropout(config.dropout)

    def embed(self, ids: Tensor) -> Tensor:
        """Vectors of token ids."""
        return self.scale * self.lm.get_input_embeddings()(ids)

    def text_logits(self, prompt_BPH: Tensor, batch: Batch, mask_BP: Tensor | None = None) -> Tensor:
        """Logits of the texts after the prompt, [B, T, V]; mask_BP is 0 at the prompt's padding, on its left."""
        words_BTH = self.embed(shifted(batch.text_BT, self.start, self.pad))
        steps = words_BTH.shape[1]
        mask_BS = _extended(prompt_BPH, mask_BP, steps)
        x_BSH = torch.cat([prompt_BPH.to(words_BTH.dtype), words_BTH], dim=1)
        return self._read(x_BSH, mask_BS, None, steps).logits

    def reading_losses(self, batch: Batch) -> Losses:
        """Of the batch's texts without any prompt: how the LM learns to write before it meets user and item."""
        nothing_BPH = torch.zeros(len(batch), 0, self.hidden, device=batch.user_B.device)
        text, tokens = text_loss(self.text_logits(nothing_BPH, batch), batch.text_BT)
        return Losses(text, 0.0, tokens)

    def begin(self, prompt_BPH: Tensor, mask_BP: Tensor | None = None) -> tuple[Tensor, State]:
        """The prompt and the start token: logits [B, V] of the first word."""
        start_B1 = torch.full((len(prompt_BPH), 1), self.start, device=prompt_BPH.device)
        mask_BS = _extended(prompt_BPH, mask_BP, 1)
        start_B1H = self.embed(start_B1)
        output = self._read(torch.cat([prompt_BPH.to(start_B1H.dtype), start_B1H], dim=1), mask_BS, None, 1)
        return output.logits[:, -1], State(output.cache, mask_BS)

    def step(self, token_B: Tensor, state: State) -> tuple[Tensor, State]:
        """One word further."""
        mask_BS = nn.functional.pad(state.mask_BS, (0, 1), value=1)
        output = self._read(self.embed(token_B)[:, None], mask_BS, state.cache, 1)
        return output.logits[:, -1], State(output.cache, mask_BS)

    def _read(self, x_BSH: Tensor, mask_BS: Tensor, cache: Any, scored: int) -> Any:
        # Places count from the first that holds something, so that padding on the left moves nothing.
        place_BS = (mask_BS.cumsum(-1) - 1).clamp_min(0)[:, -x_BSH.shape[1] :]
        return self.lm(
            inputs_embeds=self.dropout(x_BSH),
            attention_mask=mask_BS,
            position_ids=place_BS,
            cache=cache,
            use_cache=not self.training,
            logits_to_keep=scored,
        )


def _extended(prompt_BPH: Tensor, mask_BP: Tensor | None, steps: int) -> Tensor:
    if mask_BP is None:
        mask_BP = torch.ones(prompt_BPH.shape[:2], dtype=torch.long, device=prompt_BPH.device)
    return nn.functional.pad(mask_BP, (0, steps), value=1)
