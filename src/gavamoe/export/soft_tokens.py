"""Users and items as prompt embeddings: the projected vectors of both soft tokens in one safetensors file.

    soft_tokens/vectors.safetensors   users [N + 1, H], items [M + 1, H]; row 0 is the unknown
    soft_tokens/index.json            row of each name, the tokens that the rows replace, those that open fields

The rows are in the space of the stock checkpoint's input embeddings, so that they replace rows of `inputs_embeds`.
The folder keeps them apart from the weights: vLLM loads every safetensors file beside `config.json`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from gavamoe.explainer.explainer import Explainer
from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.explainer.soft_tokens import SoftToken
from gavamoe.files import write_json

FOLDER, VECTORS, INDEX = "soft_tokens", "vectors.safetensors", "index.json"


@torch.no_grad()
def projected(model: GavamoeForCausalLM, soft_token: SoftToken) -> Tensor:
    """Return the input embeddings of all users or items as the stock checkpoint takes them, [N + 1, H]."""
    tokens_NH: Tensor = soft_token(torch.arange(soft_token.vectors.ids))
    return (tokens_NH.to(model.dtype) * model.config.embedding_scale).contiguous()


def write_soft_tokens(explainer: Explainer, cluster: int, directory: Path) -> None:
    """Write the folder of the soft tokens into a checkpoint.

    Args:
        explainer: the run.
        cluster: the cluster of the checkpoint.
        directory: the checkpoint.
    """
    folder = directory / FOLDER
    folder.mkdir()
    model, tokenizer, catalog = explainer.model, explainer.tokenizer, explainer.catalog
    tensors = {"users": projected(model, model.user_token), "items": projected(model, model.item_token)}
    save_file(tensors, folder / VECTORS, metadata={"format": "pt"})
    config = model.config
    index: dict[str, Any] = {
        "cluster": cluster,
        "user_token": tokenizer.convert_ids_to_tokens(config.user_token_id),
        "item_token": tokenizer.convert_ids_to_tokens(config.item_token_id),
        "opening_tokens": tokenizer.convert_ids_to_tokens(config.fact_token_ids),
        "closing_token": tokenizer.convert_ids_to_tokens(config.text_token_id),
        "users": {name: row for row, name in enumerate(catalog.user_names) if row},
        "items": {name: row for row, name in enumerate(catalog.item_names) if row},
    }
    write_json(folder / INDEX, index)
