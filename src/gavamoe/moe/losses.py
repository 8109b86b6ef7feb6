"""Router losses: load balance of the experts, and the z loss that keeps router logits small.

Shape suffixes: B batch, S sequence, E experts, K selected experts.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Total = Callable[[Tensor], Tensor]  # sums a statistic over processes


def balance_loss(logits_BSE: Tensor, selected_BSK: Tensor, mask_BS: Tensor, total: Total = lambda x: x) -> Tensor:
    """Return Switch Transformer's load-balancing loss E * sum_e share_e * probability_e; 1 for even use.

    The loss covers all clusters together: within one cluster, uneven use is the purpose of the gates.

    Args:
        logits_BSE: router logits; dimensions before B, such as layers, have a loss each.
        selected_BSK: selected experts.
        mask_BS: 1 for a token, 0 for padding.
        total: sums a statistic over processes. With `all_reduce_sum`, shares are those of the global batch, and the
            losses of the processes sum to the loss of that batch.

    Returns:
        A scalar, or one loss for each of the dimensions before B.
    """
    weight_BS1 = mask_BS.to(logits_BSE.dtype).unsqueeze(-1)
    chosen_BSE = torch.zeros_like(logits_BSE).scatter_(-1, selected_BSK, 1.0).detach()
    tokens = total(weight_BS1.sum()).clamp_min(1)
    share_E = total((chosen_BSE * weight_BS1).sum((-3, -2))) / (tokens * selected_BSK.shape[-1])
    probability_E = (logits_BSE.softmax(-1) * weight_BS1).sum((-3, -2)) / tokens
    return logits_BSE.shape[-1] * (share_E * probability_E).sum(-1)


def z_loss(logits_BSE: Tensor, mask_BS: Tensor, total: Total = lambda x: x) -> Tensor:
    """Return ST-MoE's router z loss: the mean over tokens of the squared log-sum-exp of the router logits.

    Args:
        logits_BSE: router logits; dimensions before B have a loss each.
        mask_BS: 1 for a token, 0 for padding.
        total: sums a statistic over processes, as in `balance_loss`.
    """
    square_BS = torch.logsumexp(logits_BSE, dim=-1).square() * mask_BS
    return square_BS.sum((-2, -1)) / total(mask_BS.sum()).clamp_min(1)
