"""The systems of a comparison by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from gavamoe.baselines.att2seq import Att2Seq
from gavamoe.baselines.lightgcn import LightGCNRatings
from gavamoe.baselines.matrix_factorisation import MatrixFactorisation
from gavamoe.baselines.neural import NeuralSystem
from gavamoe.baselines.nrt import NRT
from gavamoe.baselines.pepler import PEPLER
from gavamoe.baselines.pepler_discrete import DiscretePEPLER
from gavamoe.baselines.peter import PETER
from gavamoe.baselines.rating_mlp import MLPRatings
from gavamoe.baselines.rating_system import RatingSystem
from gavamoe.baselines.xrec import XRec, graph_vectors

RATING, FEATURE, NOTHING = frozenset({"rating"}), frozenset({"feature"}), frozenset[str]()

# Of how many parameters a system may have, the system.
TEXT_SYSTEMS: dict[str, Callable[[int], NeuralSystem]] = {
    "att2seq": partial(NeuralSystem, Att2Seq, RATING, False),
    "nrt": partial(NeuralSystem, NRT, RATING, False),
    "peter": partial(NeuralSystem, PETER, NOTHING, False),
    "peter+": partial(NeuralSystem, partial(PETER, with_feature=True), FEATURE, False),
    "pepler": partial(NeuralSystem, PEPLER, NOTHING, True),
    "pepler-d": partial(NeuralSystem, DiscretePEPLER, NOTHING, True),
    "xrec": partial(NeuralSystem, XRec, NOTHING, True, prepare=lambda data, seed: (graph_vectors(data, seed),)),
}

RATING_SYSTEMS: dict[str, Callable[[], RatingSystem]] = {
    "lightgcn": partial(RatingSystem, LightGCNRatings),
    "mf": partial(RatingSystem, MatrixFactorisation),
    "mlp": partial(RatingSystem, MLPRatings),
}
