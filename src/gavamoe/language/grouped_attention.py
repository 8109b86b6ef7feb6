"""Attention for bf16 on a CPU, as an attention implementation of transformers: `grouped_products`.

torch's fused attention in bf16 is slow on a CPU, and the eager attention of transformers repeats keys and values for
every query head. Here, the query heads that share keys and values are rows of one product.

Shape suffixes: B sequences, Q query heads, G groups (key and value heads), S new tokens, T tokens so far, D head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

GROUPED_PRODUCTS = "grouped_products"
# Arguments of a few LMs that change the result: capped scores, sinks, chosen tokens, position biases.
LEFT_OUT = ("softcap", "s_aux", "indices", "position_bias")


def grouped_products(
    module: nn.Module,
    query_BQSD: Tensor,
    key_BGTD: Tensor,
    value_BGTD: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """Return softmax(scale q k^T + mask) v, [B, S, Q, D], and its weights, [B, Q, S, T].

    Args:
        module: the attention layer; in training, `dropout` applies.
        query_BQSD: queries.
        key_BGTD: keys.
        value_BGTD: values.
        attention_mask: [B, 1, S, T], 0 where a token may be seen, else a large negative number.
        scaling: of the products; None is D^-.5.
        dropout: rate of the weights' dropout.
        kwargs: what other implementations of transformers take.

    Raises:
        ValueError: the LM attends in a way that these products leave out.
    """
    if found := [name for name in LEFT_OUT if kwargs.get(name) is not None]:
        raise ValueError(f"the LM attends with {', '.join(found)}, which bf16 on a CPU leaves out: use float32")
    B, Q, S, D = query_BQSD.shape
    grouped = B, key_BGTD.shape[1], -1, D
    scale = D**-0.5 if scaling is None else scaling
    score_BQST = ((query_BQSD * scale).reshape(grouped) @ key_BGTD.transpose(2, 3)).view(B, Q, S, -1)
    if attention_mask is not None:
        score_BQST = score_BQST + attention_mask
    weight_BQST = score_BQST.softmax(-1, dtype=torch.float32).to(query_BQSD.dtype)
    weight_BQST = nn.functional.dropout(weight_BQST, dropout, module.training)
    output_BQSD = (weight_BQST.view(*grouped[:3], weight_BQST.shape[-1]) @ value_BGTD).view(B, Q, S, -1)
    return output_BQSD.transpose(1, 2).contiguous(), weight_BQST


AttentionInterface.register(GROUPED_PRODUCTS, grouped_products)
AttentionMaskInterface.register(GROUPED_PRODUCTS, eager_mask)
