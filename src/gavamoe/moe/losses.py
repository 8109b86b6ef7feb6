"""Router losses: even use of the experts, and router logits that stay small."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Total = Callable[[Tensor], Tensor]


def balance_loss(logits_BSE: Tensor, selected_BSK: Tensor, mask_BS: Tensor, total: Total = lambda x: x) -> Tensor:
    """Switch Transformer's load balance E * sum_e share_e * probability_e over the real tokens; 1 when even, scalar.

    Taken over all clusters together: within one cluster, uneven use is what the gates are for. With `total` =
    `all_reduce_sum` the shares are those of the global batch, and the processes' losses add up to the loss.
    """
    weight_BS1 = mask_BS.to(logits_BSE.dtype).unsqueeze(-1)
    chosen_BSE = torch.zeros_like(logits_BSE).scatter_(-1, selected_BSK, 1.0).detach()
    tokens = total(weight_BS1.sum()).clamp_min(1)
    share_E = total((chosen_BSE * weight_BS1).sum((0, 1))) / (tokens * selected_BSK.shape[-1])
    probability_E = (logits_BSE.softmax(-1) * weight_BS1).sum((0, 1)) / tokens
    return logits_BSE.shape[-1] * (share_E * probability_E).sum()


def z_loss(logits_BSE: Tensor, mask_BS: Tensor, total: Total = lambda x: x) -> Tensor:
    """ST-MoE's router z loss: mean squared log-sum-exp of the router logits over the real tokens, scalar."""
    square_BS = torch.logsumexp(logits_BSE, dim=-1).square() * mask_BS
    return square_BS.sum() / total(mask_BS.sum()).clamp_min(1)
