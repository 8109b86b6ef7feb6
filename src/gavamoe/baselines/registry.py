"""Systems by name. `register_system` adds one, from this package or from anywhere else.

    register_system("popular", lambda context: PopularSentence(), inputs=PopularSentence.inputs)

The published baselines and the simple ones are registered at the end of this file; `gavamoe.experiments.ablations`
registers GaVaMoE, its ablations and the untrained base model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from gavamoe.baselines.att2seq import Att2Seq
from gavamoe.baselines.base import System
from gavamoe.baselines.lightgcn import LightGCNRatings
from gavamoe.baselines.matrix_factorisation import MatrixFactorisation, require_cornac
from gavamoe.baselines.neural import ModelFactory, NeuralSystem
from gavamoe.baselines.nrt import NRT
from gavamoe.baselines.pepler import PEPLER
from gavamoe.baselines.pepler_discrete import DiscretePEPLER
from gavamoe.baselines.peter import PETER
from gavamoe.baselines.rating_mlp import MLPRatings
from gavamoe.baselines.rating_system import RatingSystem
from gavamoe.baselines.simple import Biases, GlobalMean, ItemMode, RandomSentence
from gavamoe.baselines.xrec import XRec, graph_embeddings
from gavamoe.config import DEFAULT_PRESET, RunConfig
from gavamoe.errors import ConfigError

NO_INPUTS, RATING, FEATURE = frozenset[str](), frozenset({"rating"}), frozenset({"feature"})


@dataclass(frozen=True)
class SystemContext:
    """What a comparison tells the factory of a system.

    Args:
        config: the settings of the comparison with those of the system over them.
        preset: the named configuration that `config` started from.
        base_model: hub id or directory of the LM to start from; None: from scratch.
        parameters: how many parameters a network from scratch should have, the number of GaVaMoE's.
        reuse_weights_from: an earlier system of the comparison that has the same weights, by its directory.
    """

    config: RunConfig
    preset: str = DEFAULT_PRESET
    base_model: str | None = None
    parameters: int = 0
    reuse_weights_from: str | None = None


SystemFactory = Callable[[SystemContext], System]


@dataclass(frozen=True)
class RegisteredSystem:
    """A system that a comparison can name.

    Args:
        factory: makes the untrained system.
        inputs: the fields of a condition that it can use as input.
        settings: for a variant of GaVaMoE, the settings that it changes, from those of the comparison; None otherwise.
        check: raises `InputError` for what would stop the system, before anything is trained.
        needs_texts: whether it learns from texts; a rating system does not.
    """

    factory: SystemFactory
    inputs: frozenset[str] = NO_INPUTS
    settings: Callable[[RunConfig], dict[str, Any]] | None = None
    check: Callable[[SystemContext], None] = lambda context: None
    needs_texts: bool = True


_SYSTEMS: dict[str, RegisteredSystem] = {}


def register_system(
    name: str,
    factory: SystemFactory,
    inputs: frozenset[str] = NO_INPUTS,
    settings: Callable[[RunConfig], dict[str, Any]] | None = None,
    check: Callable[[SystemContext], None] = lambda context: None,
    needs_texts: bool = True,
) -> None:
    """Make a system known under a name, so that a comparison can list it; see `RegisteredSystem` for the arguments.

    Raises:
        ConfigError: another system has the name.
    """
    if name in _SYSTEMS:
        raise ConfigError(f"there is already a system '{name}'; register yours under another name")
    _SYSTEMS[name] = RegisteredSystem(factory, inputs, settings, check, needs_texts)


def registered_systems() -> Mapping[str, RegisteredSystem]:
    """Return all registered systems by name, in the order of registration; read-only."""
    return MappingProxyType(_SYSTEMS)


def _register_network(name: str, create: ModelFactory, inputs: frozenset[str], base: bool, **options: Any) -> None:
    """Register a network; `base`: it starts from the base model if there is one."""
    register_system(
        name, lambda context: NeuralSystem(create, inputs, base, context.parameters, **options), inputs=inputs
    )


_register_network("att2seq", Att2Seq, RATING, base=False, rating_model=LightGCNRatings)
_register_network("nrt", NRT, RATING, base=False)
_register_network("peter", PETER, NO_INPUTS, base=False)
_register_network("peter+", partial(PETER, with_feature=True), FEATURE, base=False)
_register_network("pepler", PEPLER, NO_INPUTS, base=True)
_register_network("pepler-d", DiscretePEPLER, NO_INPUTS, base=True)
_register_network("xrec", XRec, NO_INPUTS, base=True, prepare=lambda data, seed: (graph_embeddings(data, seed),))
register_system("lightgcn", lambda context: RatingSystem(LightGCNRatings), needs_texts=False)
register_system(
    "mf",
    lambda context: RatingSystem(MatrixFactorisation),
    check=lambda context: require_cornac(),
    needs_texts=False,
)
register_system("mlp", lambda context: RatingSystem(MLPRatings), needs_texts=False)
register_system("item-mode", lambda context: ItemMode())
register_system("random-sentence", lambda context: RandomSentence())
register_system("bias", lambda context: Biases(), needs_texts=False)
register_system("mean", lambda context: GlobalMean(), needs_texts=False)
