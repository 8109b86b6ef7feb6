"""Load the language models that judge texts: a causal LM for fluency, which is not the writer, and an encoder."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoTokenizer

from gavamoe.evaluation.bounds import Bounds
from gavamoe.evaluation.metrics.fluency import NAME, FluencyModel
from gavamoe.evaluation.metrics.metric import Metric
from gavamoe.evaluation.metrics.similarity import SimilarityModel
from gavamoe.evaluation.outputs import Outputs
from gavamoe.language.base_model import load_base, load_pretrained


def load_fluency_model(base: str) -> FluencyModel:
    """Load the model that `--fluency` names.

    Args:
        base: a name such as smollm2-135m, a hub id, a directory or a GGUF file.

    Raises:
        ConfigError: it cannot be loaded; the message says what to do.
    """
    return FluencyModel(load_base(base, torch.float32), load_pretrained(base, AutoTokenizer), Path(base).name)


def load_similarity_metrics(model: str | None) -> tuple[Metric, ...]:
    """Return `similarity` and `bertscore/f` with the model that `--similarity-model` names; none without one.

    Raises:
        InputError: there is no such model.
    """
    return () if model is None else SimilarityModel(model).metrics


def fluency_bounds(model: FluencyModel | None, outputs: Outputs) -> dict[str, Bounds]:
    """Return floor and ceiling of the fluency; nothing without a model."""
    return {} if model is None else {NAME: Bounds(*model.bounds(outputs))}
