"""Every text system: learns, has the size it was given, writes by pair and not by batch, comes back, goes on."""

import dataclasses

import numpy as np
import polars as pl
import pytest
import torch

from gavamoe.baselines.data import TextData
from gavamoe.baselines.registry import TEXT_SYSTEMS
from gavamoe.baselines.trainer import _Training, train
from gavamoe.checkpoint import load_state
from gavamoe.conditions import Condition

SIZE = 60_000
RATES = {"nrt", "peter", "peter+", "pepler"}


@pytest.fixture(scope="module", params=sorted(TEXT_SYSTEMS))
def fitted(request, data, tmp_path_factory):
    directory = tmp_path_factory.mktemp(request.param)
    system = TEXT_SYSTEMS[request.param](SIZE)
    return request.param, system, system.fit(data, 0, directory), directory


def test_it_learns_and_says_what_that_took(fitted, data):
    _, _, training, directory = fitted
    last = [record for record in training.history if record["phase"] == training.history[-1]["phase"]]
    assert training.history[-1]["valid_text"] < training.history[0]["valid_text"]
    assert training.valid_loss in [record["valid_text"] for record in last]
    assert training.tokens == training.epochs * data.own.train.tokens
    assert training.seconds > 0
    assert [path.name for path in directory.iterdir()] == ["weights.safetensors"]


def test_it_has_about_the_parameters_it_may_have(fitted):
    _, system, training, _ = fitted
    assert training.parameters == system.model.size()
    assert 0.6 * SIZE < training.parameters < 1.5 * SIZE


def test_a_text_belongs_to_its_pair_and_not_to_its_batch(fitted, data):
    _, system, _, _ = fitted
    pairs = data.dataset.interactions("valid").head(12)
    together = system.predict(pairs, Condition())
    alone = [system.predict(pairs[row : row + 1], Condition()).texts[0] for row in range(0, 12, 4)]
    assert together.texts[::4] == alone
    assert system.predict(pairs.reverse(), Condition()).texts == together.texts[::-1]


def test_strangers_get_a_text_and_a_rating_within_the_scale(fitted, data):
    name, system, _, _ = fitted
    pairs = data.dataset.interactions("valid").head(4).with_columns(user_id=pl.lit(0), item_id=pl.lit(0))
    predicted = system.predict(pairs, Condition())
    assert len(predicted.texts) == 4
    assert (predicted.ratings is not None) == (name in RATES)
    if predicted.ratings is not None:
        low, high = data.scale.values[0], data.scale.values[-1]
        assert ((predicted.ratings >= low) & (predicted.ratings <= high)).all()


def test_a_condition_reaches_those_who_have_a_place_for_it(fitted, data):
    _, system, _, _ = fitted
    pairs = data.dataset.interactions("valid").filter(pl.col("feature").is_not_null()).head(30)
    texts = {c: system.predict(pairs, Condition(*c)).texts for c in (("none", "none"), ("given", "given"))}
    assert (texts["none", "none"] == texts["given", "given"]) == (not system.inputs)


def test_it_comes_back_as_it_was(fitted, data):
    name, system, _, directory = fitted
    again = TEXT_SYSTEMS[name](SIZE)
    again.load(data, 0, directory)
    pairs = data.dataset.interactions("valid").head(8)
    assert again.predict(pairs, Condition()).texts == system.predict(pairs, Condition()).texts


@pytest.mark.parametrize("name", ["peter", "pepler"])  # of one phase and of three
def test_an_interrupted_training_goes_on_to_the_same_weights(name, data, tmp_path, monkeypatch):
    whole = TEXT_SYSTEMS[name](SIZE)
    whole.fit(data, 0, tmp_path / "whole")
    epoch, count = _Training._epoch, [0]
    stop_after = 1 if name == "peter" else 3

    def stopping(self, phase):
        if count[0] == stop_after:
            raise KeyboardInterrupt
        count[0] += 1
        return epoch(self, phase)

    monkeypatch.setattr(_Training, "_epoch", stopping)
    with pytest.raises(KeyboardInterrupt):
        TEXT_SYSTEMS[name](SIZE).fit(data, 0, tmp_path / "cut")
    monkeypatch.setattr(_Training, "_epoch", epoch)
    assert (tmp_path / "cut" / "checkpoint.safetensors").is_file()
    resumed = TEXT_SYSTEMS[name](SIZE)
    training = resumed.fit(data, 0, tmp_path / "cut")
    assert training.epochs == 2 * len(resumed.model.phases)
    expected, found = (load_state(tmp_path / where / "weights.safetensors") for where in ("whole", "cut"))
    assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_the_best_epoch_of_validation_is_kept_and_training_stops_after_it(data, tmp_path):
    patient = TextData(data.dataset, data.config.model_copy(update={"epochs": 30, "patience": 1}))
    system = TEXT_SYSTEMS["nrt"](SIZE)
    model = system._begin(patient, 0)
    model.phases = (dataclasses.replace(model.phases[0], learning_rate=0.1),)
    history = train(model, patient.own, 0, "test", tmp_path / "state")
    objectives = [record["valid_objective"] for record in history]
    assert len(history) < 30
    assert int(np.argmin(objectives)) == len(history) - 2
    kept = _Training(model, patient.own, 0, tmp_path / "none")._validate(model.phases[0])[0]
    assert kept == pytest.approx(min(objectives), rel=1e-5)
