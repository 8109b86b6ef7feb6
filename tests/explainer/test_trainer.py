"""Resuming an interrupted training of stage 2: early stopping, and checkpoints that were cut off."""

import numpy as np
import pytest
import torch
from helpers.checkpoints import TEXTS
from helpers.soft_tokens import random_vectors
from helpers.weights import assert_same_weights
from helpers.worlds import TINY
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from transformers import Trainer

from gavamoe.config import ExplainerConfig
from gavamoe.explainer import build, length_parts
from gavamoe.explainer import trainer as training
from gavamoe.explainer.checkpoints import latest_complete_checkpoint
from gavamoe.explainer.context import PairContext
from gavamoe.explainer.dataset import ExplanationDataset
from gavamoe.language.encoding import PromptEncoder

STEPS, EPOCHS = 3, 5  # steps per epoch, largest number of epochs
WORSENING = [3.0, 3.1, 3.2, 3.3, 3.4]  # validation losses; patience 2 stops after three, patience 1 after two


class Interruption(BaseException):
    """Ends a training from outside."""


class Training:
    """One training in `checkpoints` with scripted validation losses, which can be interrupted and resumed."""

    def __init__(self, checkpoints, patience, monkeypatch):
        self.checkpoints, self.steps, self.stop_at = checkpoints, 0, None
        self.losses = iter(WORSENING)
        settings = TINY["explainer"] | {"epochs": EPOCHS, "patience": patience, "batch_size": 4, "dropout": 0.1}
        self.config = ExplainerConfig(**settings).resolve_defaults(base=False)
        self.validations, self.stop_in_validation = 0, None
        monkeypatch.setattr(training, "validation_loss", self.validate)
        real_step = Trainer.training_step

        def step(trainer, *args, **kwargs):
            if self.steps == self.stop_at:
                raise Interruption
            self.steps += 1
            return real_step(trainer, *args, **kwargs)

        monkeypatch.setattr(Trainer, "training_step", step)

    def validate(self, *args):
        if self.validations == self.stop_in_validation:
            raise Interruption
        self.validations += 1
        return next(self.losses)

    def run(self, stop_at=None):
        """Train to the end, or to the step of the interruption; return the validation losses and weights."""
        self.stop_at = stop_at
        torch.manual_seed(0)
        model, tokenizer = build.from_scratch(TEXTS, self.config, 3, random_vectors())
        ids = np.arange(4 * STEPS) % 6
        pairs = PairContext(ids, ids, ids % 3, [3] * len(ids), [None] * len(ids))
        rows = ExplanationDataset(pairs, TEXTS[: len(ids)], PromptEncoder(tokenizer), self.config, seed=0, hide=True)
        history = training.fit_explainer(model, tokenizer, rows, rows, self.config, 0, self.checkpoints)
        self.logged = [(record["epoch"], record["loss"]) for record in history if "loss" in record]
        return [record["eval_loss"] for record in history if "eval_loss" in record], model.state_dict()


@pytest.fixture
def trainings(tmp_path, monkeypatch):
    """Return a function that makes trainings, each in its own folder."""

    def make(patience):
        return Training(tmp_path / str(len(list(tmp_path.iterdir()))) / "state", patience, monkeypatch)

    return make


def test_a_resumed_training_stops_as_early_as_an_uninterrupted_one(trainings):
    losses, weights = trainings(patience=2).run()
    assert losses == WORSENING[:3]
    resumed = trainings(patience=2)
    with pytest.raises(Interruption):
        resumed.run(stop_at=2 * STEPS + 1)  # in the last epoch
    again, its_weights = resumed.run()
    assert again == losses
    assert_same_weights(its_weights, weights)


@pytest.mark.parametrize("stop_at", range(1, 3 * STEPS))
def test_a_training_killed_within_an_epoch_goes_on_there(stop_at, trainings, monkeypatch):
    uninterrupted = trainings(patience=2)
    losses, weights = uninterrupted.run()
    monkeypatch.setattr(training, "SECONDS_BETWEEN_SAVES", 0.0)
    resumed = trainings(patience=2)
    with pytest.raises(Interruption):
        resumed.run(stop_at=stop_at)
    again, its_weights = resumed.run()
    assert again == losses
    assert resumed.steps == len(losses) * STEPS, "a step was taken twice"
    assert resumed.logged == uninterrupted.logged
    assert_same_weights(its_weights, weights)


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_a_training_killed_in_a_validation_repeats_that_validation(epoch, trainings, monkeypatch):
    uninterrupted = trainings(patience=2)
    losses, weights = uninterrupted.run()
    monkeypatch.setattr(training, "SECONDS_BETWEEN_SAVES", 0.0)
    resumed = trainings(patience=2)
    resumed.stop_in_validation = epoch
    with pytest.raises(Interruption):
        resumed.run()
    resumed.stop_in_validation = None
    again, its_weights = resumed.run()
    assert again == losses
    assert resumed.logged == uninterrupted.logged
    assert_same_weights(its_weights, weights)


@pytest.mark.parametrize("patience", [1, 2])
def test_a_resumed_training_that_had_stopped_early_takes_no_step(trainings, patience, monkeypatch):
    losses, weights = trainings(patience).run()
    stopped = trainings(patience)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_finalize_training", lambda *args: (_ for _ in ()).throw(Interruption))
        with pytest.raises(Interruption):
            stopped.run()
    steps = stopped.steps
    again, its_weights = stopped.run()
    assert stopped.steps == steps == STEPS * (patience + 1)
    assert again == losses
    assert_same_weights(its_weights, weights)


@pytest.mark.parametrize("left", [None, '{"epoch": 2.0, "best_m'], ids=["missing", "truncated"])
def test_an_incomplete_checkpoint_is_deleted_and_the_one_before_it_is_used(trainings, left):
    _, weights = trainings(2).run()
    resumed = trainings(2)
    with pytest.raises(Interruption):
        resumed.run(stop_at=2 * STEPS + 1)
    complete = latest_complete_checkpoint(resumed.checkpoints)
    assert complete.name == f"checkpoint-{2 * STEPS}"
    incomplete = resumed.checkpoints / "checkpoint-999"
    incomplete.mkdir()
    (incomplete / "model.safetensors").write_bytes((complete / "model.safetensors").read_bytes()[:1000])
    if left is not None:
        (incomplete / "trainer_state.json").write_text(left)
    _, its_weights = resumed.run()
    assert not incomplete.exists()
    assert_same_weights(its_weights, weights)


def test_without_a_complete_checkpoint_there_is_none_to_resume_from(tmp_path):
    assert latest_complete_checkpoint(tmp_path / "nothing") is None
    (tmp_path / "checkpoint-9").mkdir()
    assert latest_complete_checkpoint(tmp_path) is None
    assert not list(tmp_path.iterdir())


class Lengths:
    """What the order of steps reads of a dataset."""

    def __init__(self, lengths):
        self.lengths = lengths

    def set_epoch(self, epoch):
        pass


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=200),
    size=st.integers(1, 16),
    seed=st.integers(0, 9),
    epoch=st.integers(0, 3),
)
def test_an_epoch_takes_every_row_once_in_full_steps_and_the_longest_first(lengths, size, seed, epoch):
    sampler = training.RandomRows(Lengths(lengths), size, seed)
    sampler.set_epoch(epoch)
    order = list(sampler)
    assert sorted(order[: len(lengths)]) == list(range(len(lengths)))
    assert len(order) == len(sampler) == -(-len(lengths) // size) * size
    if len(lengths) >= size:
        assert max(lengths) in [lengths[row] for row in order[:size]]
    assert order == list(sampler)


@pytest.mark.parametrize("seed", range(3))
def test_the_lengths_of_a_step_are_those_of_random_rows(seed):
    lengths = np.random.default_rng(seed).integers(1, 60, 3200)
    order = np.array(list(training.RandomRows(Lengths(lengths.tolist()), 16, seed)))
    of_steps = lengths[order].reshape(-1, 16)
    assert of_steps.var(1, ddof=1).mean() == pytest.approx(lengths.var(), rel=0.1)  # as within all rows
    assert abs(spearmanr(np.arange(len(of_steps)), of_steps.mean(1)).statistic) < 0.3


def test_steps_that_are_computed_in_parts_train_the_same_model(trainings, monkeypatch):
    trained = []
    for parts in (1, 2):
        monkeypatch.setattr(length_parts, "PARTS", (parts,))
        run = trainings(patience=5)
        run.config = run.config.model_copy(update={"dropout": 0.0, "balance_weight": 0.0, "z_weight": 0.0, "epochs": 2})
        trained.append(run.run()[1])
        assert run.steps == 2 * STEPS + (parts - 1) * (2 * STEPS - 1)  # the first step is never divided
    for name, expected in trained[0].items():
        torch.testing.assert_close(trained[1][name], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("rows", "accumulation", "expected"), [(100, 1, 16), (16, 1, 16), (5, 1, 5), (5, 2, 4), (1, 4, 4), (1, 1, 1)]
)
def test_a_step_takes_no_more_sequences_than_there_are(rows, accumulation, expected):
    config = ExplainerConfig(batch_size=16, accumulation=accumulation)
    assert training.with_batches_of(rows, config).batch_size == expected


def test_parameters_without_elements_are_not_trained(trainings, tmp_path):
    """On a GPU, the gradient of an embedding of width 0 is an illegal memory access."""
    config = trainings(patience=1).config
    nothing = random_vectors(width=0)
    model, tokenizer = build.from_scratch(TEXTS, config.model_copy(update={"epochs": 1}), 3, nothing)
    pairs = PairContext(np.arange(6), np.arange(6), np.arange(6) % 3, [3] * 6, [None] * 6)
    rows = ExplanationDataset(pairs, TEXTS[:6], PromptEncoder(tokenizer), config, seed=0, hide=True)
    training.fit_explainer(model, tokenizer, rows, rows, config, 0, tmp_path / "state")
    assert not any(p.requires_grad for p in model.parameters() if not p.numel())
    assert model.user_token.projection.bias.requires_grad
