"""Training state on disk without pickle: tensors in safetensors, everything else as JSON in its header."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from gavamoe.errors import RunError
from gavamoe.files import staged_file


def save_state(path: Path, state: Any) -> None:
    """Write a nested structure of dicts, lists, numbers, strings and tensors; whole or not at all."""
    tensors: dict[str, torch.Tensor] = {}
    layout = _pack(state, tensors)
    with staged_file(path) as staged:
        save_file(tensors, staged, metadata={"layout": json.dumps(layout)})


def load_state(path: Path) -> Any:
    """Read what `save_state` wrote; `RunError` when the file is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            return _unpack(json.loads(file.metadata()["layout"]), tensors)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"the checkpoint {path} is damaged ({error}); delete it to start this stage anew") from None


def _pack(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().clone().contiguous()
        return {"tensor": name}
    if isinstance(value, dict):  # as pairs: an optimizer's state has integer keys, which JSON would turn into text
        return {"dict": [[key, _pack(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [_pack(item, tensors) for item in value]}
    return {"value": value}


def _unpack(layout: Any, tensors: dict[str, torch.Tensor]) -> Any:
    ((kind, content),) = layout.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _unpack(item, tensors) for key, item in content}
    if kind == "list":
        return [_unpack(item, tensors) for item in content]
    return content
