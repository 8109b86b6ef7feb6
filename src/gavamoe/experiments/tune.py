"""`gavamoe tune`: search settings with Optuna, stage 1 first and then stage 2 on top of the best stage 1.

    study "preference" (rating loss) -> best stage 1 -> study "explainer" (nats per token)
                                     -> best.yaml, trials.csv, tune.md, tune.html

Two studies instead of one: a trial of stage 1 costs a small part of one of stage 2, and its settings can be judged
without a text. A joint search would spend a training of stage 2 on every learning rate of stage 1.
The sampler is seeded anew for each trial, by the seed and the number of finished trials. So a search that was
interrupted and resumed makes the trials of one that was not. Trials that an interruption cut off are made again with
the same settings.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gavamoe.config import DEFAULT_PRESET, RunConfig
from gavamoe.data.dataset import ReviewDataset
from gavamoe.errors import ConfigError, DataError, DivergenceError
from gavamoe.experiments.directory import DATA, earlier_card, only_experiment, write_card
from gavamoe.experiments.tune_report import FAILED, StageResult, summarize_study, write_results
from gavamoe.experiments.tune_space import (
    Dimension,
    explainer_space,
    preference_space,
    start_parameters,
    with_parameters,
)
from gavamoe.experiments.tune_trials import (
    ReportLoss,
    TrialData,
    explainer_trial,
    preference_trial,
    stage_1_with,
)
from gavamoe.explainer import build
from gavamoe.language.named_bases import base_id

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.study import Study
    from optuna.trial import Trial

TuneStage = Literal["preference", "all"]
CARD, DATABASE = "tune.yaml", "study.db"
RANDOM_TRIALS = 6  # trials with random settings before the sampler (TPE) models what is good
STAGE_1_SHARE = 0.3  # largest share of the time limit that stage 1 gets


@dataclass(frozen=True)
class TuneRequest:
    """What to search.

    Args:
        config: the settings that the search starts from, with the seed.
        preset: name of the preset that they started from.
        base_model: name, hub id, directory or GGUF file of the LM of stage 2; None: from scratch.
        stage: preference, or all.
        trials: trials of each stage, earlier ones included.
        minutes: time limit of this call; None: none. The trial that runs then is ended and made again on resume.
        limit: largest number of training reviews of a trial; None: all.
    """

    config: RunConfig
    preset: str = DEFAULT_PRESET
    base_model: str | None = None
    stage: TuneStage = "all"
    trials: int = 20
    minutes: float | None = None
    limit: int | None = None


class _OutOfTimeError(Exception):
    """The time limit is over."""


def tune(
    data: Path,
    out: Path,
    request: TuneRequest,
    resume: bool = False,
    on_note: Callable[[str], None] = lambda text: None,
) -> list[StageResult]:
    """Search settings, or go on with a search, and write best.yaml, trials.csv, tune.md and tune.html into `out`.

    The files are also written when the search is interrupted, from the trials that are finished.

    Args:
        data: a prepared dataset.
        out: directory of the search.
        request: what to search.
        resume: continue the search in `out`; `trials` may then be larger than before.
        on_note: receives a line per trial.

    Returns:
        The result of each stage that has a finished trial.

    Raises:
        InputError: the data, the settings or the directory cannot be used; no trial of a stage succeeded; or none
            finished in time.
    """
    dataset = ReviewDataset.load(data)
    _check(dataset, request)
    with only_experiment(out, "tuning in"), _quiet_optuna():
        _open(out, dataset, request, resume)
        with _open_storage(out / DATABASE) as storage:
            search = _Search(out, storage, dataset, request, on_note)
            try:
                search.run()
            finally:
                results = search.results()
                if results:
                    write_results(out, search.config, results, data, request.preset, request.base_model)
    if not results:
        raise ConfigError(
            f"no trial finished within {request.minutes:g} minutes; go on with --resume and more --timeout"
        )
    return results


@contextmanager
def _open_storage(path: Path) -> Iterator[RDBStorage]:
    """Yield the database of the trials; its file is closed afterwards."""
    from optuna.storages import RDBStorage
    from sqlalchemy import URL

    url = URL.create("sqlite", database=str(path))  # escapes ? and % of the path
    storage = RDBStorage(url.render_as_string())
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


class _Search:
    """One call of `tune`.

    Args:
        out: directory of the search.
        storage: the database of the trials.
        dataset: the prepared dataset.
        request: what to search.
        say: receives a line per trial.
    """

    def __init__(
        self,
        out: Path,
        storage: RDBStorage,
        dataset: ReviewDataset,
        request: TuneRequest,
        say: Callable[[str], None],
    ):
        self.out, self.storage, self.request, self.say = out, storage, request, say
        self.base = None if request.base_model is None else base_id(request.base_model)
        self.data = TrialData(dataset, request.config, request.limit)
        self.users = dataset.catalog.n_users
        self.config = request.config  # with the best settings so far
        self.begun = time.monotonic()
        self.preference = self._study("preference")
        self.explainer = self._study("explainer") if request.stage == "all" else None

    def run(self) -> None:
        """Make the trials that are missing."""
        with_texts = self.explainer is not None
        space = preference_space(self.config, self.users, with_clusters=not with_texts)
        # Trials of stage 2 are comparable only on the same stage 1: once there is one, stage 1 is settled.
        if not with_texts or not _finished(self.explainer):
            share = STAGE_1_SHARE if with_texts else 1.0
            self._make_trials("preference", self.preference, space, self._preference_loss, share)
        self._use_best(self.preference)
        if self.explainer is not None and _succeeded(self.preference) and not self._is_over(1.0):
            space = explainer_space(self.config, self.users, self.base is not None)
            self._make_trials("explainer", self.explainer, space, self._explainer_loss, 1.0)
            self._use_best(self.explainer)

    def results(self) -> list[StageResult]:
        """Return the result of each study with a finished trial, and take their best settings."""
        self.config = self.request.config
        results = []
        for stage, study in (("preference", self.preference), ("explainer", self.explainer)):
            if study is not None and _succeeded(study):
                self._use_best(study)
                results.append(summarize_study(stage, study, self.request.config.seed))
        return results

    def _study(self, name: str) -> Study:
        import optuna

        return optuna.create_study(
            study_name=name,
            storage=self.storage,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
            load_if_exists=True,
        )

    def _make_trials(
        self,
        stage: str,
        study: Study,
        space: list[Dimension],
        loss: Callable[[RunConfig, ReportLoss], float],
        share: float,
    ) -> None:
        """Make trials until there are as many as requested, or the stage's share of the time is over."""
        _make_again(study)
        if not study.trials:
            study.enqueue_trial(start_parameters(self.config, space, self.base is not None))
        while _finished(study) < self.request.trials and not self._is_over(share):
            study.sampler = self._sampler(_finished(study))
            trial = study.ask()
            try:
                self._make_trial(stage, study, trial, space, loss, share)
            except _OutOfTimeError:
                _make_again(study)
                return
        if not _succeeded(study) and _finished(study):
            errors = [trial.user_attrs.get(FAILED, "") for trial in study.trials]
            raise ConfigError(
                f"no trial of stage {stage} succeeded; the last one: {next(filter(None, errors[::-1]), '')}"
            )

    def _make_trial(
        self,
        stage: str,
        study: Study,
        trial: Trial,
        space: list[Dimension],
        loss: Callable[[RunConfig, ReportLoss], float],
        share: float,
    ) -> None:
        """Make one trial and record how it ended."""
        import optuna

        # Without a finished trial of stage 1 there is nothing to search stage 2 on.
        limit = share if _succeeded(study) else 1.0

        def report(epoch: int, value: float) -> None:
            trial.report(value, epoch)
            if self._is_over(limit):
                raise _OutOfTimeError
            if trial.should_prune():
                raise optuna.TrialPruned

        parameters = {dimension.setting: dimension.suggest(trial) for dimension in space}
        begun, ended = time.monotonic(), ""
        try:
            value = loss(with_parameters(self.config, parameters, self.base is not None), report)
            study.tell(trial, value)
            ended = f"{value:.4f}"
        except optuna.TrialPruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            ended = "pruned"
        except (DivergenceError, ConfigError) as error:
            trial.set_user_attr(FAILED, str(error))
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            ended = f"failed: {error}"
        seconds = time.monotonic() - begun
        shown = ", ".join(f"{name.split('.')[1]} {value:.4g}" for name, value in parameters.items())
        self.say(f"{stage} {_finished(study)}/{self.request.trials}: {ended} ({seconds:.0f} s; {shown})")

    def _preference_loss(self, config: RunConfig, report: ReportLoss) -> float:
        return preference_trial(self.data, config, report)[1]

    def _explainer_loss(self, config: RunConfig, report: ReportLoss) -> float:
        preference = stage_1_with(self.data, config, self.out)
        return explainer_trial(self.data, config, self.base, preference, self.out, report)

    def _use_best(self, study: Study) -> None:
        if _succeeded(study):
            self.config = with_parameters(self.config, study.best_params, self.base is not None)

    def _sampler(self, number: int) -> Any:
        """Return the sampler of a trial, seeded by the number of finished ones."""
        import optuna

        seed = (self.request.config.seed * 100_003 + number) % 2**32
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS)

    def _is_over(self, share: float) -> bool:
        """Return whether a share of the time limit has passed."""
        minutes = self.request.minutes
        return minutes is not None and time.monotonic() - self.begun >= 60 * minutes * share


def _finished(study: Study | None) -> int:
    """Return the number of trials that ended: complete, pruned, or failed because of their settings."""
    if study is None:
        return 0
    return sum(t.state.name in ("COMPLETE", "PRUNED") or FAILED in t.user_attrs for t in study.trials)


def _succeeded(study: Study) -> bool:
    return any(trial.state.name == "COMPLETE" for trial in study.trials)


def _make_again(study: Study) -> None:
    """Enqueue the settings of trials that were cut off; these are marked as failed and do not count."""
    import optuna

    for trial in study.trials:
        if trial.state.name == "RUNNING":
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            if trial.params:
                study.enqueue_trial(trial.params)


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Let Optuna log errors only, while the block runs."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _check(dataset: ReviewDataset, request: TuneRequest) -> None:
    """Raise `InputError` if the search is impossible."""
    if find_spec("optuna") is None:
        raise ConfigError("gavamoe tune needs its package: pip install 'gavamoe[tune]'")
    if not dataset.splits["train"] or not dataset.splits["valid"]:
        raise DataError(f"{dataset.path} has no training or no validation reviews: prepare it with a validation split")
    if request.stage == "preference":
        return
    for split in ("train", "valid"):
        if not dataset.has_texts(split):
            raise DataError(f"{dataset.path} has no {split} reviews with text; tune stage 1 with --stage preference")
    config, base = request.config, request.base_model
    build.check_settings(config.explainer, config.preference.clusters, None if base is None else base_id(base))


def _open(out: Path, dataset: ReviewDataset, request: TuneRequest, resume: bool) -> None:
    """Write the card of a new search, or check that the directory holds this one; `InputError` says why not."""
    card = {
        DATA: str(dataset.path.resolve()),
        "digest of the data": dataset.digest,
        "preset": request.preset,
        "base model": request.base_model,
        "stage": request.stage,
        "limit": request.limit,
        "settings": request.config.model_dump(mode="json"),
    }
    if earlier_card(out / CARD, card, resume, "search") is None:
        write_card(out / CARD, card)
