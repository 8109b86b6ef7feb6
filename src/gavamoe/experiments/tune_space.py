"""What `gavamoe tune` searches: the settings of each stage with their ranges, and the settings of one trial.

stage 1   beta, learning rates; the number of clusters K only if there is no stage 2
stage 2   K, number of experts N, granularity r, top-k, learning rate

K belongs to stage 2 because K clusters are K gates: the loss of texts measures what gates are good for. The rating loss
of stage 1 hardly depends on K, and its ELBO is best with clusters that overlap (`preference.mixture_fit`).
N changes how a fixed total width is divided: d = total / N. Otherwise more experts would win by being more parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gavamoe.config import ExplainerConfig, RunConfig, merge, nested, parse_config

if TYPE_CHECKING:
    from optuna.trial import Trial

CLUSTERS, EXPERTS = "preference.clusters", "explainer.experts"
MOST_CLUSTERS, USERS_PER_CLUSTER = 12, 10
GRANULARITIES = (1, 2, 4)
RATE_FACTOR = 4.0  # learning rates are searched from a quarter of the configured one to four times of it


@dataclass(frozen=True)
class Dimension:
    """One setting of a search.

    Args:
        setting: its dotted name, which is also the name of the parameter in the study.
        choices: the values to choose from; empty for a range.
        low, high: the ends of the range.
        log: whether the range is searched on a logarithmic scale.
    """

    setting: str
    choices: tuple[int, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False

    def suggest(self, trial: Trial) -> float:
        """Return the value of a trial."""
        if self.choices:
            return int(trial.suggest_categorical(self.setting, self.choices))
        if self.log:
            return float(trial.suggest_float(self.setting, self.low, self.high, log=True))
        return int(trial.suggest_int(self.setting, int(self.low), int(self.high)))

    def has(self, value: float) -> bool:
        """Return whether a value can be suggested."""
        return value in self.choices if self.choices else self.low <= value <= self.high


def preference_space(config: RunConfig, users: int, with_clusters: bool) -> list[Dimension]:
    """Return what the study of stage 1 searches.

    Args:
        config: the settings that the search starts from.
        users: number of users of the data.
        with_clusters: whether K is searched here, because no stage 2 will.
    """
    preference = config.preference
    space = [
        Dimension("preference.beta", low=min(0.1, preference.beta or 0.1), high=max(4.0, preference.beta), log=True),
        _rate("preference.learning_rate", preference.learning_rate),
        _rate("preference.embedding_learning_rate", preference.embedding_learning_rate),
    ]
    return [_clusters(config, users), *space] if with_clusters else space


def explainer_space(config: RunConfig, users: int, base: bool) -> list[Dimension]:
    """Return what the study of stage 2 searches; arguments as in `preference_space`, and whether there is a base."""
    explainer = config.explainer.resolve_defaults(base)
    most = min(count for count in _expert_counts(explainer))
    space = [
        _clusters(config, users),
        Dimension(EXPERTS, choices=_expert_counts(explainer)),
        Dimension("explainer.granularity", choices=_granularities(explainer)),
        Dimension("explainer.top_k", choices=tuple(range(1, most + 1))),
        _rate("explainer.learning_rate", explainer.learning_rate or 1e-3),
    ]
    # Without gates of stage 1's clusters, K says nothing to stage 2; one that is partitioned has no width to divide.
    return [dimension for dimension in space if explainer.gate_clusters != "one" or dimension.setting != CLUSTERS]


def with_parameters(config: RunConfig, parameters: dict[str, float], base: bool) -> RunConfig:
    """Return the settings of a trial.

    Args:
        config: the settings that the search starts from.
        parameters: values by dotted name.
        base: whether there is a base model.

    Raises:
        ConfigError: the settings contradict each other.
    """
    tree = config.model_dump()
    for name, value in parameters.items():
        tree = merge(tree, nested(name, value))
    if CLUSTERS in parameters:
        tree = merge(tree, nested("preference.choose_clusters", None))
    explainer = config.explainer.resolve_defaults(base)
    width = _width(explainer)
    if EXPERTS not in parameters or width is None:
        return parse_config(tree)
    each = getattr(explainer, width) * explainer.experts // int(parameters[EXPERTS])
    return _with_shared_width(parse_config(merge(tree, nested(f"explainer.{width}", each))), explainer, width)


def _with_shared_width(trial: RunConfig, start: ExplainerConfig, width: str) -> RunConfig:
    """Return a trial with as many shared experts as have the neurons of those of `start`, rounded up."""
    neurons = (start.shared_experts or 0) * (getattr(start, width) // start.granularity)
    each = getattr(trial.explainer, width) // trial.explainer.granularity
    explainer = trial.explainer.model_copy(update={"shared_experts": -(-neurons // each)})
    return trial.model_copy(update={"explainer": explainer})


def start_parameters(config: RunConfig, space: list[Dimension], base: bool) -> dict[str, float]:
    """Return the configured value of each setting, for the first trial; without those outside of their range."""
    resolved = config.model_copy(update={"explainer": config.explainer.resolve_defaults(base)})
    values = {d.setting: _value(resolved, d.setting) for d in space}
    return {d.setting: values[d.setting] for d in space if d.has(values[d.setting])}


def _value(config: RunConfig, setting: str) -> Any:
    stage, name = setting.split(".")
    return getattr(getattr(config, stage), name)


def _clusters(config: RunConfig, users: int) -> Dimension:
    most = max(2, min(MOST_CLUSTERS, users // USERS_PER_CLUSTER))
    return Dimension(CLUSTERS, low=1, high=max(most, min(config.preference.clusters, users)))


def _rate(setting: str, rate: float) -> Dimension:
    return Dimension(setting, low=rate / RATE_FACTOR, high=rate * RATE_FACTOR, log=True)


def _width(explainer: ExplainerConfig) -> str | None:
    """Return the setting that is the width of an expert; None if a base model's FFN is divided or copied."""
    return {"random": "expert_width", "adapter": "expert_rank"}.get(explainer.initialisation or "random")


def _expert_counts(explainer: ExplainerConfig) -> tuple[int, ...]:
    """Return the numbers of experts that the total width can be divided among at every granularity."""
    width = _width(explainer)
    if width is None:
        return tuple(sorted({2, 4, 8, explainer.experts}))
    total = getattr(explainer, width) * explainer.experts
    possible = (n for n in (2, 4, 8, 16) if total % (n * max(GRANULARITIES)) == 0)
    return tuple(sorted({*possible, explainer.experts}))


def _granularities(explainer: ExplainerConfig) -> tuple[int, ...]:
    """Return the granularities that divide the width of an expert whatever their number."""
    width = _width(explainer)
    if width is None:
        return tuple(sorted({*GRANULARITIES, explainer.granularity}))
    widths = [getattr(explainer, width) * explainer.experts // n for n in _expert_counts(explainer)]
    possible = (r for r in GRANULARITIES if all(each % r == 0 for each in widths))
    return tuple(sorted({*possible, explainer.granularity}))
