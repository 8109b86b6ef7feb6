"""Likeness of meaning, by the token vectors of any local transformers model; in percent."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gavamoe.errors import InputError
from gavamoe.evaluation.metrics.metric import Metric
from gavamoe.evaluation.outputs import Outputs

BATCH = 64
LONGEST = 512  # tokens; the rest of a longer text is not looked at


class SimilarityModel:
    """Compares texts by the last hidden states of a model in a local directory.

    Args:
        directory: a transformers model with its tokenizer, as `save_pretrained` writes them.
    """

    def __init__(self, directory: Path | str) -> None:
        from transformers import AutoModel, AutoTokenizer

        self.directory = Path(directory)
        if not (self.directory / "config.json").is_file():
            raise InputError(f"{directory} is no model directory: it has no config.json")
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(directory, local_files_only=True)
            self.model: Any = AutoModel.from_pretrained(directory, local_files_only=True).eval()
        except (OSError, ValueError) as error:
            raise InputError(f"{directory} cannot be loaded as a model with a tokenizer: {error}") from error
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """Cosine of the mean token vectors, and BERTScore's F."""
        by = f"with {self.directory.name}"
        return (
            Metric("similarity", True, f"cosine of mean token vectors, {by}", self.statistics, _mean_of(0)),
            Metric("bertscore/f", True, f"Zhang et al. 2020, no idf, not rescaled, {by}", self.statistics, _mean_of(1)),
        )

    def statistics(self, outputs: Outputs) -> np.ndarray:
        """Cosine of the mean vectors, and F of greedily matched tokens, of each row: [n, 2]; 0 for an empty text."""
        return np.array(
            [
                _compare(said, wanted)
                for start in range(0, len(outputs), BATCH)
                for said, wanted in zip(
                    self._vectors(outputs.predictions[start : start + BATCH]),
                    self._vectors(outputs.references[start : start + BATCH]),
                    strict=True,
                )
            ]
        )

    @torch.inference_mode()
    def _vectors(self, texts: Any) -> Iterator[torch.Tensor]:
        """Unit vectors of each text's tokens, [tokens, hidden]; marks that the tokenizer adds are left out."""
        encoded = self.tokenizer(
            [" ".join(words) or "." for words in texts],
            return_tensors="pt",
            padding=True,
            truncation=True,
            max_length=min(LONGEST, self.tokenizer.model_max_length),
            return_special_tokens_mask=True,
        )
        special = encoded.pop("special_tokens_mask").bool()
        hidden = torch.nn.functional.normalize(self.model(**encoded).last_hidden_state.float(), dim=-1)
        kept = encoded["attention_mask"].bool() & ~special
        for words, vectors, keep in zip(texts, hidden, kept, strict=True):
            yield vectors[keep] if words else vectors[:0]


def _compare(said: torch.Tensor, wanted: torch.Tensor) -> tuple[float, float]:
    if not len(said) or not len(wanted):
        return 0.0, 0.0
    cosine = torch.nn.functional.cosine_similarity(said.mean(0), wanted.mean(0), dim=0).item()
    likeness = said @ wanted.T
    precision, recall = likeness.max(1).values.mean().item(), likeness.max(0).values.mean().item()
    return cosine, 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def _mean_of(column: int) -> Any:
    return lambda totals, rows: 100 * totals[:, column] / rows
