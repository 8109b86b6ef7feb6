"""GaVaMoE: explainable recommendation with a Gaussian-mixture VAE and a multi-gate mixture of experts.

Use `from gavamoe import Explainer, PreferenceModel, Recommender, ReviewDataset`. Each name is imported when it is first
used, so that `import gavamoe` and `gavamoe --help` load neither torch nor transformers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gavamoe._version import __version__

if TYPE_CHECKING:
    from gavamoe.data.dataset import ReviewDataset
    from gavamoe.explainer.explainer import Explainer
    from gavamoe.preference.model import PreferenceModel
    from gavamoe.preference.recommender import Recommender

__all__ = ["Explainer", "PreferenceModel", "Recommender", "ReviewDataset", "__version__"]

_MODULE_OF = {
    "Explainer": "gavamoe.explainer.explainer",
    "PreferenceModel": "gavamoe.preference.model",
    "Recommender": "gavamoe.preference.recommender",
    "ReviewDataset": "gavamoe.data.dataset",
}


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(import_module(_MODULE_OF[name]), name)
    raise AttributeError(f"module 'gavamoe' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
