"""Are experts specialised: information between clusters and experts, divergence of clusters, redundancy, dead experts.

Information above its floor shows that clusters use experts differently. That alone is no specialisation: gates of
random clusters drift apart in training too. Whether the difference serves the texts is shown by the loss with another
cluster's gate.

Shape legend: N texts, L layers, E experts, C clusters.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy
from sklearn.metrics import mutual_info_score

from gavamoe.diagnostics.expert_probe import KINDS, ExpertProbe
from gavamoe.explainer.expert_usage import ExpertReport, usage_shares

PERMUTATIONS = 100  # of the clusters over the texts, for the floor of the information
MAX_REMOVALS = 64  # experts that are removed in turn
OTHER_GATES = 3  # other clusters whose gates each text is read with, at most
MAX_MERGES = 16  # layers whose two most alike experts are merged
REMOVAL_BATCHES = 2  # batches of texts that the loss without an expert, or with two merged, is measured on
ALIKE = 0.95  # two experts whose outputs have this mean cosine do the same


@dataclass(frozen=True)
class LayerFigures:
    """What the experts of one layer do.

    Args:
        layer: its number, from 0.
        information: normalised mutual information of cluster and selected expert, 0..1.
        information_floor: its 95th percentile when the texts' clusters are permuted.
        divergence: mean Jensen-Shannon divergence between the clusters' uses of experts, in bits.
        divergence_floor: its 95th percentile under the same permutations.
        balance: the load's entropy between the least that top-k allows (0) and even use (1), all clusters together.
        least_balance: the same for the least even cluster.
        dead: number of experts with next to no load.
        cosine: mean cosine of two experts' outputs on the same tokens.
        alike: share of experts that do the same as another one.
    """

    layer: int
    information: float | None
    information_floor: float | None
    divergence: float | None
    divergence_floor: float | None
    balance: float
    least_balance: float
    dead: int
    cosine: float | None
    alike: float | None


@dataclass(frozen=True)
class ExpertFigures:
    """What stage 2's experts and gates do on a sample of validation texts.

    Args:
        texts: number of texts.
        layers: figures of each layer with experts.
        loss: nats per token with each text's own gate.
        loss_other_gates: nats per token with another cluster's gate, mean over up to OTHER_GATES others; None with one
            cluster.
        loss_soft_gates: nats per token with gates mixed by responsibilities; None if gates are not stage 1's clusters.
        selections_changed: share of selected experts that such a gate replaces, mean over the same others.
        removal: rise of the loss when an expert is never selected: layer, expert, rise.
        merges: rise of the loss when one of the two most alike experts of a layer replaces the other: layer, experts
            (the kept one first), cosine, rise.
        removal_texts: number of texts of these two measurements.
        use: share of selections by cluster, layer and expert, lists of shape [C, L, E].
        use_by_kind: the same by kind of token.
    """

    texts: int
    layers: list[LayerFigures]
    loss: float
    loss_other_gates: float | None
    loss_soft_gates: float | None
    selections_changed: float | None
    removal: list[dict[str, Any]]
    merges: list[dict[str, Any]]
    removal_texts: int
    use: list[list[list[float]]]
    use_by_kind: dict[str, list[list[float]]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return asdict(self)


def examine_experts(probe: ExpertProbe, soft: bool, seed: int) -> ExpertFigures:
    """Measure what experts and gates do on the probe's texts.

    Args:
        probe: stage 2 with its texts.
        soft: whether responsibilities can mix the gates (the gates are stage 1's clusters).
        seed: of the permutations.
    """
    use, cosines = probe.use(), probe.output_cosines()
    top_k, kinds = probe.blocks[0].shape.top_k, len(KINDS)
    loss, other, changed = probe.loss(), None, None
    if probe.gates > 1:
        shifts = [lambda c, by=by: (c + by) % probe.gates for by in range(1, min(probe.gates, OTHER_GATES + 1))]
        other = float(np.mean([probe.loss(gates=shift) for shift in shifts]))
        changed = float(np.mean([probe.selections_changed(shift) for shift in shifts]))
    part = probe.loss(REMOVAL_BATCHES)
    return ExpertFigures(
        texts=len(probe.pairs),
        layers=[
            layer_figures(use.by_text[:, at], probe.gate_N, layer, top_k, cosines[at], seed)
            for at, layer in enumerate(use.layers)
        ],
        loss=loss,
        loss_other_gates=other,
        loss_soft_gates=probe.loss_with_soft_gates() if soft and probe.gates > 1 else None,
        selections_changed=changed,
        removal=_removals(probe, top_k, part),
        merges=_merges(probe, cosines, part),
        removal_texts=sum(map(len, probe.rows[:REMOVAL_BATCHES])),
        use=usage_shares(use.by_text, probe.gate_N, probe.gates).tolist(),
        use_by_kind=dict(zip(KINDS, usage_shares(use.by_kind, np.arange(kinds), kinds).tolist(), strict=True)),
    )


def layer_figures(
    count_NE: np.ndarray, cluster_N: np.ndarray, layer: int, top_k: int, cosine_EE: np.ndarray, seed: int
) -> LayerFigures:
    """Return the figures of a layer from the selections of its texts, [N, E], and its experts' cosines, [E, E]."""
    information, information_floor = _with_floor(normalized_information, count_NE, cluster_N, seed)
    divergence, divergence_floor = _with_floor(mean_divergence, count_NE, cluster_N, seed)
    experts = count_NE.shape[1]
    load = ExpertReport.from_counts(count_NE[:, None], cluster_N, [layer]).load_balance()
    whole = load.row(len(load) - 1, named=True)  # all clusters together come last
    by_cluster = [load_entropy(count_NE[cluster_N == c].sum(0), top_k) for c in np.unique(cluster_N)]
    pairs_EE = cosine_EE[~np.eye(experts, dtype=bool)].reshape(experts, -1) if experts > 1 else None
    return LayerFigures(
        layer=layer,
        information=information,
        information_floor=information_floor,
        divergence=divergence,
        divergence_floor=divergence_floor,
        balance=load_entropy(count_NE.sum(0), top_k),
        least_balance=min(by_cluster),
        dead=int(whole["dead"]),
        cosine=float(pairs_EE.mean()) if pairs_EE is not None else None,
        alike=float((pairs_EE.max(1) > ALIKE).mean()) if pairs_EE is not None else None,
    )


def normalized_information(count_CE: np.ndarray) -> float:
    """Return the mutual information of cluster and expert, divided by the smaller of their entropies, 0..1."""
    if not count_CE.any():
        return 0.0
    smaller = min(entropy(count_CE.sum(1)), entropy(count_CE.sum(0)))
    if smaller < 1e-12:
        return 0.0
    return float(mutual_info_score(None, None, contingency=count_CE) / smaller)


def mean_divergence(count_CE: np.ndarray) -> float:
    """Return the mean Jensen-Shannon divergence between the clusters' distributions over experts, in bits."""
    rows = count_CE[count_CE.sum(1) > 0]
    pairs = [(a, b) for a in range(len(rows)) for b in range(a)]
    if not pairs:
        return 0.0
    # A distance of 0 may come out as the root of a small negative number.
    distances = [jensenshannon(rows[a], rows[b], base=2) for a, b in pairs]
    return float(np.mean(np.square(np.nan_to_num(distances))))


def load_entropy(count_E: np.ndarray, top_k: int) -> float:
    """Return where the entropy of a load lies between log k, one choice for all tokens (0), and log E, even use (1)."""
    experts = len(count_E)
    if experts <= top_k or count_E.sum() == 0:
        return 1.0
    lowest, highest = np.log(top_k), np.log(experts)
    return float(np.clip((entropy(count_E) - lowest) / (highest - lowest), 0, 1))


def _with_floor(statistic: Any, count_NE: np.ndarray, cluster_N: np.ndarray, seed: int) -> tuple[Any, Any]:
    """Return a statistic of [C, E] counts and its 95th percentile under permuted clusters; None with one cluster."""
    groups, cluster_N = np.unique(cluster_N, return_inverse=True)
    if len(groups) < 2:
        return None, None

    def of(label_N: np.ndarray) -> float:
        member_CN = np.eye(len(groups))[label_N].T
        return float(statistic(member_CN @ count_NE))

    rng = np.random.default_rng(seed)
    permuted = [of(rng.permutation(cluster_N)) for _ in range(PERMUTATIONS)]
    return of(cluster_N), float(np.quantile(permuted, 0.95))


def _removals(probe: ExpertProbe, top_k: int, whole: float) -> list[dict[str, Any]]:
    """Return the rise of the loss without each expert, or without `MAX_REMOVALS` of them, spread over the layers."""
    experts = probe.blocks[0].shape.experts
    if experts <= top_k:
        return []
    every = [(block.layer, expert) for block in probe.blocks for expert in range(experts)]
    chosen = [every[i] for i in np.unique(np.linspace(0, len(every) - 1, min(len(every), MAX_REMOVALS)).astype(int))]
    return [
        {"layer": layer, "expert": expert, "rise": probe.loss_without(layer, expert, REMOVAL_BATCHES) - whole}
        for layer, expert in chosen
    ]


def _merges(probe: ExpertProbe, cosine_LEE: np.ndarray, whole: float) -> list[dict[str, Any]]:
    """Return the rise of the loss when the two most alike experts of each layer are merged, for up to `MAX_MERGES`."""
    experts = cosine_LEE.shape[1]
    if experts < 2:
        return []
    layers = np.unique(np.linspace(0, len(probe.blocks) - 1, min(len(probe.blocks), MAX_MERGES)).astype(int))
    found = []
    for at in layers:
        others_EE = np.where(np.eye(experts, dtype=bool), -np.inf, cosine_LEE[at])
        kept, merged = (int(place) for place in np.unravel_index(others_EE.argmax(), others_EE.shape))
        layer = probe.blocks[at].layer
        rise = probe.loss_with_merged(layer, kept, merged, REMOVAL_BATCHES) - whole
        found.append({"layer": layer, "experts": [kept, merged], "cosine": float(others_EE.max()), "rise": rise})
    return found
