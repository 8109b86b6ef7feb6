"""An unfinished training may be moved or resumed by another path, and ends with the best weights all the same."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from helpers.weights import assert_same_weights
from safetensors.torch import load_file

from gavamoe.errors import RunError
from gavamoe.explainer import train as stage2
from gavamoe.explainer.checkpoints import STATE, latest_complete_checkpoint
from gavamoe.pipeline.train import train_run


@pytest.mark.slow
def test_a_training_killed_after_its_last_checkpoint_and_moved_ends_with_the_best_weights(
    dataset_path, tiny_config, tmp_path, monkeypatch
):
    # With a high learning rate the first epochs are the best, so that the best and the last checkpoint differ.
    explainer = tiny_config.explainer.model_copy(update={"learning_rate": 0.15, "patience": 3})
    config = tiny_config.model_copy(update={"explainer": explainer})
    train_run(dataset_path, tmp_path / "whole", config)
    real = stage2.TrainedExplainer.save

    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stage2.TrainedExplainer, "save", killed)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train_run(dataset_path, tmp_path / "begun", config)
    monkeypatch.setattr(stage2.TrainedExplainer, "save", real)
    shutil.copytree(tmp_path / "begun", tmp_path / "elsewhere" / "moved")
    shutil.rmtree(tmp_path / "begun")
    os.chdir(tmp_path / "elsewhere")
    train_run(dataset_path, tmp_path / "elsewhere" / ".." / "elsewhere" / "moved", config, resume=True)
    left, right = (
        load_file(run / "explainer" / "model.safetensors") for run in (tmp_path / "whole", tmp_path / "elsewhere/moved")
    )
    assert_same_weights(left, right)


def test_the_best_checkpoint_is_found_beside_the_last_one(tmp_path):
    for step in (5, 10, 100):
        checkpoint = tmp_path / f"checkpoint-{step}"
        checkpoint.mkdir()
        (checkpoint / STATE).write_text(json.dumps({"best_model_checkpoint": "old/place/checkpoint-5"}))
    assert latest_complete_checkpoint(tmp_path) == tmp_path / "checkpoint-100"
    state = json.loads((tmp_path / "checkpoint-100" / STATE).read_text())
    assert state["best_model_checkpoint"] == str(tmp_path / "checkpoint-5")
    shutil.rmtree(tmp_path / "checkpoint-5")
    with pytest.raises(RunError, match="checkpoint-5, is missing"):
        latest_complete_checkpoint(tmp_path)
