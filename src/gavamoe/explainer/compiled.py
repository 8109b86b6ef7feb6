"""Compile the decoder layers for training (torch.compile): one compiled layer serves all layers and lengths.

A layer with low-rank factors and experts is some hundred small kernels. On a GPU the host takes longer to launch them
than the GPU to run them; compiled, few are left.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from gavamoe.config import ExplainerConfig
from gavamoe.distributed import world_size
from gavamoe.moe.convert import decoder_layers

C_COMPILERS = ("cc", "gcc", "clang")  # one of which torch.compile needs
# Compiling took 89 seconds on an H200, and a step of 5,760 tokens then 0.24 instead of 0.32 seconds.
MIN_STEPS = 1000


def should_compile(config: ExplainerConfig, steps: int) -> bool:
    """Return whether a training compiles its layers.

    Args:
        config: `compile` decides; None is yes on a GPU for long trainings in one process on a plain base, where
            there is a C compiler.
        steps: optimizer steps of the whole training.
    """
    if config.compile is not None:
        return config.compile
    plain = world_size() == 1 and not config.load_in_4bit and not config.gradient_checkpointing
    can_compile = torch.cuda.is_available() and any(map(shutil.which, C_COMPILERS))
    return can_compile and plain and steps >= MIN_STEPS


@contextmanager
def compiled_layers(model: nn.Module) -> Iterator[None]:
    """Run the decoder layers compiled inside the block, in training mode; other modes run them as they are.

    Args:
        model: stage 2; with LoRA its PEFT model.
    """
    layers = list(decoder_layers(model))
    for layer in layers:
        layer.forward = _in_training(layer, layer.forward)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward  # the class's method is left


def _in_training(layer: nn.Module, forward: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    compiled = torch.compile(forward, dynamic=True)

    def run(*args: object, **kwargs: object) -> torch.Tensor:
        return (compiled if layer.training else forward)(*args, **kwargs)

    return run
