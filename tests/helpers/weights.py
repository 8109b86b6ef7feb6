"""Comparison of two models' weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch


def assert_same_weights(left: Mapping[str, torch.Tensor], right: Mapping[str, torch.Tensor]) -> None:
    """Assert that both have the same names and bit-equal tensors."""
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert torch.equal(tensor, right[name]), name
