"""Random vectors for the soft tokens of a small model."""

from __future__ import annotations

import torch

from gavamoe.explainer.soft_tokens import SoftTokenVectors


def random_vectors(users: int = 9, items: int = 7, width: int = 4) -> SoftTokenVectors:
    """Return vectors of so many users and items, the unknown included."""
    return SoftTokenVectors(torch.randn(users, width), torch.randn(items, width))
