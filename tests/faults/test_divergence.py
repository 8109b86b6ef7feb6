"""A training that diverges stops at once, keeps its last good state and says what to do; its weights are never used."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.runs import unsealed_copy
from safetensors.torch import load_file, save_file
from transformers import Trainer

from gavamoe.checkpoint import check_finite, load_state
from gavamoe.config import PreferenceConfig, RunConfig, load_config
from gavamoe.data.dataset import InteractionArrays
from gavamoe.errors import ConfigError, DivergenceError, RunError
from gavamoe.explainer.checkpoints import find_complete_checkpoint
from gavamoe.explainer.explainer import Explainer
from gavamoe.pipeline.train import train_run
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.trainer import PreferenceTrainer, fit_preference


def _changed(config: RunConfig, stage: str, **settings: float) -> RunConfig:
    part = getattr(config, stage).model_copy(update=settings)
    return config.model_copy(update={stage: part})


@pytest.mark.parametrize("rate", [1e10, 1e30])
def test_stage_1_with_a_huge_learning_rate_stops_with_one_line(rate, dataset_path, tiny_config, tmp_path):
    run = tmp_path / "run"
    config = _changed(tiny_config, "preference", learning_rate=rate, embedding_learning_rate=rate)
    with pytest.raises(DivergenceError, match=r"stage 1 diverged: .* lower preference\.learning_rate") as raised:
        train_run(dataset_path, run, config, stage="preference")
    assert "\n" not in str(raised.value)
    assert not (run / "preference").exists()


def test_stage_1_that_diverges_in_the_only_step_of_an_epoch_says_so():
    pairs = InteractionArrays(*np.random.default_rng(0).integers(1, 6, (3, 20)))
    config = PreferenceConfig(clusters=2, learning_rate=1e30)
    model = PreferenceModel.from_config(5, 5, 5, config)
    with pytest.raises(DivergenceError, match="stage 1 diverged: the validation loss of epoch 1, phase pretrain,"):
        fit_preference(model, pairs, pairs, config)


def test_stage_1_keeps_the_state_of_the_epoch_before(dataset_path, tiny_config, tmp_path, monkeypatch):
    run, steps, step = tmp_path / "run", [0], PreferenceTrainer.step

    def diverging(self: PreferenceTrainer, *args: object) -> float:
        steps[0] += 1
        return math.nan if self.progress.epoch == 2 else step(self, *args)

    monkeypatch.setattr(PreferenceTrainer, "step", diverging)
    with pytest.raises(DivergenceError, match=r"the loss of step 1 of epoch 3, phase pretrain, is nan"):
        train_run(dataset_path, run, tiny_config, stage="preference")
    assert load_state(run / "checkpoints" / "preference.safetensors")["progress"]["epoch"] == 2


def test_stage_2_stops_and_keeps_the_last_good_checkpoint(dataset_path, tiny_config, tmp_path, monkeypatch):
    run, step = tmp_path / "run", Trainer.training_step

    def diverging(self: Trainer, *args: object, **kwargs: object) -> torch.Tensor:
        loss = step(self, *args, **kwargs)
        return loss * math.nan if self.state.epoch > 1.5 else loss

    monkeypatch.setattr(Trainer, "training_step", diverging)
    with pytest.raises(DivergenceError, match=r"stage 2 diverged: the loss of step \d+ is nan") as raised:
        train_run(dataset_path, run, tiny_config)
    (kept,) = (run / "checkpoints" / "explainer").glob("checkpoint-*")
    assert str(kept) in str(raised.value)
    check_finite(load_file(kept / "model.safetensors").items(), kept)
    assert not (run / "explainer").exists()


def test_stage_2_stops_when_the_loss_of_another_process_diverges(dataset_path, tiny_config, tmp_path, monkeypatch):
    summed = []

    def with_another(loss: torch.Tensor) -> torch.Tensor:
        summed.append(float(loss))
        return loss + math.nan if len(summed) == 3 else loss

    monkeypatch.setattr("gavamoe.explainer.trainer.all_reduce_sum", with_another)
    with pytest.raises(DivergenceError, match=r"stage 2 diverged: the loss of step 3 is nan; no checkpoint was saved"):
        train_run(dataset_path, tmp_path / "run", tiny_config)
    assert all(map(math.isfinite, summed))  # this process's own


def test_naming_the_last_good_checkpoint_changes_no_file(tmp_path):
    for name, state in (
        ("checkpoint-2", '{"best_model_checkpoint": "/elsewhere/checkpoint-2"}'),
        ("checkpoint-4", "{"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "trainer_state.json").write_text(state)
    before = {path: path.is_file() and path.read_text() for path in tmp_path.rglob("*")}
    assert find_complete_checkpoint(tmp_path) == tmp_path / "checkpoint-2"
    assert {path: path.is_file() and path.read_text() for path in tmp_path.rglob("*")} == before
    assert find_complete_checkpoint(tmp_path / "none") is None


@pytest.mark.parametrize("value", [".inf", ".nan", "-.inf"])
@pytest.mark.parametrize("name", ["preference.learning_rate", "explainer.learning_rate", "preference.beta"])
def test_a_setting_is_a_finite_number(name, value):
    with pytest.raises(ConfigError, match=name):
        load_config("tiny", None, [f"{name}={value}"])


@pytest.mark.parametrize("stage", ["preference", "explainer"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused(stage, value, run_path, tmp_path):
    run = unsealed_copy(run_path, tmp_path / "run")
    path: Path = run / stage / "model.safetensors"
    weights = load_file(path)
    next(iter(weights.values())).view(-1)[0] = value
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(RunError, match=f"{stage} has weights that are not finite") as raised:
        Explainer.from_pretrained(run)
    assert "\n" not in str(raised.value)
