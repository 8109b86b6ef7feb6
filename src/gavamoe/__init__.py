"""GaVaMoE: explanations for recommendations, written by a mixture of experts that knows the pair's taste.

`from gavamoe import Explainer, PreferenceModel, ReviewDataset`. The names are imported when first used, so that
`import gavamoe` (and `gavamoe --help`) stays instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gavamoe.data.dataset import ReviewDataset
    from gavamoe.explainer.explainer import Explainer
    from gavamoe.preference.model import PreferenceModel

__version__ = "0.1.0"
__all__ = ["Explainer", "PreferenceModel", "ReviewDataset", "__version__"]

_HOME = {
    "Explainer": "gavamoe.explainer.explainer",
    "PreferenceModel": "gavamoe.preference.model",
    "ReviewDataset": "gavamoe.data.dataset",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'gavamoe' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
