"""The causal LM inside PEPLER and XRec: any of Hugging Face's, or a small one pretrained on the training texts.

    sequence   prompt (embeddings given by the caller), start, words

Without a base model, a Llama of the same depth as GaVaMoE's is first trained on the texts alone, without users and
items. It takes the place of the pretrained LM of the papers.
Shape suffixes: B batch, T text, P prompt, S positions, H hidden, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from gavamoe.baselines.data import TextBatch, TextData
from gavamoe.baselines.text_model import Losses, Phase, shift_right, text_loss
from gavamoe.language.base_model import extend_vocabulary, load_base, small_llama

LM_PRETRAINING = Phase("language", learning_rate=2e-3, prefixes=("language.",))


@dataclass
class LMState:
    """The decoder's state: cached keys and values, and the attention mask of all positions so far, [B, S]."""

    cache: Any  # a cache of transformers, which mypy does not follow
    mask_BS: Tensor


class LanguageModel(nn.Module):
    """A causal LM on embeddings.

    Args:
        data: names the base model, if there is one, and the vocabulary.
        width: hidden size of an LM from scratch; a base model has its own. `hidden` is the result.
    """

    def __init__(self, data: TextData, width: int):
        super().__init__()
        vocabulary, config = data.base_vocabulary, data.config
        self.start, self.pad = vocabulary.start, vocabulary.pad
        self.from_scratch = data.base_model is None
        if data.base_model is None:
            self.lm = AutoModelForCausalLM.from_config(
                trust_remote_code=False,
                config=small_llama(
                    vocabulary=vocabulary.size,
                    hidden=width,
                    intermediate=3 * width,
                    layers=config.layers,
                    heads=config.heads,
                    pad=vocabulary.pad,
                    end=vocabulary.end,
                ),
            )
        else:
            self.lm = load_base(data.base_model, torch.float32)
            extend_vocabulary(self.lm, vocabulary.size, list(vocabulary.new_ids))
        self.hidden = int(self.lm.get_input_embeddings().weight.shape[1])
        # Embeddings from scratch are tied to the output layer and therefore small; scaled, they have unit variance.
        self.scale = self.hidden**0.5 if self.from_scratch else 1.0
        self.dropout = nn.Dropout(config.dropout)

    def embed(self, ids: Tensor) -> Tensor:
        """Return the embeddings of token ids, with H as a further dimension."""
        return self.scale * self.lm.get_input_embeddings()(ids)

    def text_logits(self, prompt_BPH: Tensor, batch: TextBatch, mask_BP: Tensor | None = None) -> Tensor:
        """Return the logits of the texts after a prompt, [B, T, V].

        Args:
            prompt_BPH: embeddings of the prompt.
            batch: holds the texts.
            mask_BP: 0 at the prompt's padding, which is on its left; None without padding.
        """
        words_BTH = self.embed(shift_right(batch.text_BT, self.start, self.pad))
        steps = words_BTH.shape[1]
        mask_BS = _extend_mask(prompt_BPH, mask_BP, steps)
        x_BSH = torch.cat([prompt_BPH.to(words_BTH.dtype), words_BTH], dim=1)
        return self._forward(x_BSH, mask_BS, None, steps).logits

    def pretraining_losses(self, batch: TextBatch) -> Losses:
        """Return the loss of the batch's texts without a prompt, which pretrains the LM."""
        empty_BPH = torch.zeros(len(batch), 0, self.hidden, device=batch.user_B.device)
        text, tokens = text_loss(self.text_logits(empty_BPH, batch), batch.text_BT)
        return Losses(text, 0.0, tokens)

    def prefill(self, prompt_BPH: Tensor, mask_BP: Tensor | None = None) -> tuple[Tensor, LMState]:
        """Process the prompt and the start token; return the first word's logits [B, V] and the state."""
        start_B1 = torch.full((len(prompt_BPH), 1), self.start, device=prompt_BPH.device)
        mask_BS = _extend_mask(prompt_BPH, mask_BP, 1)
        start_B1H = self.embed(start_B1)
        output = self._forward(torch.cat([prompt_BPH.to(start_B1H.dtype), start_B1H], dim=1), mask_BS, None, 1)
        return output.logits[:, -1], LMState(output.cache, mask_BS)

    def decode_step(self, token_B: Tensor, state: LMState) -> tuple[Tensor, LMState]:
        """Process one token; return the next word's logits [B, V] and the state."""
        mask_BS = nn.functional.pad(state.mask_BS, (0, 1), value=1)
        output = self._forward(self.embed(token_B)[:, None], mask_BS, state.cache, 1)
        return output.logits[:, -1], LMState(output.cache, mask_BS)

    def _forward(self, x_BSH: Tensor, mask_BS: Tensor, cache: Any, scored: int) -> Any:
        # Positions count from the first token that is no padding: padding on the left has no effect.
        position_BS = (mask_BS.cumsum(-1) - 1).clamp_min(0)[:, -x_BSH.shape[1] :]
        return self.lm(
            inputs_embeds=self.dropout(x_BSH),
            attention_mask=mask_BS,
            position_ids=position_BS,
            cache=cache,
            use_cache=not self.training,
            logits_to_keep=scored,
        )


def _extend_mask(prompt_BPH: Tensor, mask_BP: Tensor | None, steps: int) -> Tensor:
    if mask_BP is None:
        mask_BP = torch.ones(prompt_BPH.shape[:2], dtype=torch.long, device=prompt_BPH.device)
    return nn.functional.pad(mask_BP, (0, steps), value=1)
