"""Every text system: training, size, independence of the batch, saving and resuming."""

import dataclasses

import numpy as np
import polars as pl
import pytest
import torch
from helpers.systems import NETWORKS, create

from gavamoe.baselines.base import SUMMARY
from gavamoe.baselines.neural import WEIGHTS
from gavamoe.baselines.trainer import _Trainer, train
from gavamoe.checkpoint import load_state
from gavamoe.conditions import Condition
from gavamoe.files import write_json

SIZE = 60_000
RATES = {"nrt", "peter", "peter+", "pepler"}


@pytest.fixture(scope="module", params=sorted(NETWORKS))
def fitted(request, data, tmp_path_factory):
    directory = tmp_path_factory.mktemp(request.param)
    system = create(request.param, SIZE)
    return request.param, system, system.fit(data, 0, directory), directory


def test_training_lowers_the_loss_and_returns_a_summary(fitted, data):
    _, _, training, directory = fitted
    last = [record for record in training.history if record["phase"] == training.history[-1]["phase"]]
    assert training.history[-1]["valid_text"] < training.history[0]["valid_text"]
    assert training.valid_loss in [record["valid_text"] for record in last]
    assert training.tokens == training.epochs * data.corpus_vocabulary.train.tokens
    assert training.seconds > 0
    assert [path.name for path in directory.iterdir()] == ["weights.safetensors"]


def test_the_number_of_parameters_is_about_the_given_one(fitted):
    _, system, training, _ = fitted
    assert training.parameters == system.model.num_parameters()
    assert 0.6 * SIZE < training.parameters < 1.5 * SIZE


def test_a_text_depends_on_its_pair_and_not_on_the_batch(fitted, data):
    _, system, _, _ = fitted
    pairs = data.valid.head(12)
    together = system.predict(pairs, Condition())
    alone = [system.predict(pairs[row : row + 1], Condition()).texts[0] for row in range(0, 12, 4)]
    assert together.texts[::4] == alone
    assert system.predict(pairs.reverse(), Condition()).texts == together.texts[::-1]


def test_an_unknown_pair_gets_a_text_and_a_rating_within_the_scale(fitted, data):
    name, system, _, _ = fitted
    pairs = data.valid.head(4).with_columns(user_id=pl.lit(0), item_id=pl.lit(0))
    predicted = system.predict(pairs, Condition())
    assert len(predicted.texts) == 4
    assert (predicted.ratings is not None) == (name in RATES)
    if predicted.ratings is not None:
        low, high = data.scale.values[0], data.scale.values[-1]
        assert ((predicted.ratings >= low) & (predicted.ratings <= high)).all()


def test_a_condition_changes_the_texts_of_systems_with_that_input(fitted, data):
    _, system, _, _ = fitted
    pairs = data.valid.filter(pl.col("feature").is_not_null()).head(30)
    texts = {c: system.predict(pairs, Condition(*c)).texts for c in (("none", "none"), ("given", "given"))}
    assert (texts["none", "none"] == texts["given", "given"]) == (not system.inputs)


def test_a_loaded_system_predicts_the_same(fitted, data):
    name, system, _, directory = fitted
    again = create(name, SIZE)
    again.load(data, 0, directory)
    pairs = data.valid.head(8)
    assert again.predict(pairs, Condition()).texts == system.predict(pairs, Condition()).texts


@pytest.mark.slow
@pytest.mark.parametrize("name", ["peter", "pepler"])  # of one phase and of three
def test_a_resumed_training_ends_with_the_same_weights(name, data, tmp_path, monkeypatch):
    whole = create(name, SIZE)
    whole.fit(data, 0, tmp_path / "whole")
    epoch, count = _Trainer._run_epoch, [0]
    stop_after = 1 if name == "peter" else 3

    def stopping(self, phase):
        if count[0] == stop_after:
            raise KeyboardInterrupt
        count[0] += 1
        return epoch(self, phase)

    monkeypatch.setattr(_Trainer, "_run_epoch", stopping)
    with pytest.raises(KeyboardInterrupt):
        create(name, SIZE).fit(data, 0, tmp_path / "cut")
    monkeypatch.setattr(_Trainer, "_run_epoch", epoch)
    assert (tmp_path / "cut" / "checkpoint.safetensors").is_file()
    resumed = create(name, SIZE)
    training = resumed.fit(data, 0, tmp_path / "cut")
    assert training.epochs == 2 * len(resumed.model.phases)
    expected, found = (load_state(tmp_path / where / "weights.safetensors") for where in ("whole", "cut"))
    assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_early_stopping_restores_the_best_epoch(data, tmp_path):
    patient = dataclasses.replace(data, config=data.config.model_copy(update={"epochs": 30, "patience": 1}))
    system = create("nrt", SIZE)
    model = system._build(patient, 0)
    model.phases = (dataclasses.replace(model.phases[0], learning_rate=0.1),)
    history = train(model, patient.corpus_vocabulary, 0, "test", tmp_path / "state")
    objectives = [record["valid_objective"] for record in history]
    assert len(history) < 30
    assert int(np.argmin(objectives)) == len(history) - 2
    restored = _Trainer(model, patient.corpus_vocabulary, 0, tmp_path / "none")._validate(model.phases[0])[0]
    assert restored == pytest.approx(min(objectives), rel=1e-5)


def test_content_words_select_among_the_drafts_of_a_baseline_too(data, tmp_path):
    config = data.config.model_copy(update={"mbr_content_words": True})
    system = create("nrt", SIZE)
    (tmp_path / "seed-0").mkdir()
    system.fit(data, 0, tmp_path / "seed-0")
    alike = system.predict(data.valid.head(60), Condition()).texts
    system.load(dataclasses.replace(data, config=config), 0, tmp_path / "seed-0")
    assert system.predict(data.valid.head(60), Condition()).texts != alike


def test_reference_sentences_select_among_the_same_drafts_and_only_where_there_are_some(data, tmp_path):
    import gavamoe.experiments.ablations  # noqa: F401 - registers peter-references

    systems = [create(name, SIZE) for name in ("peter", "peter-references")]
    for system, name in zip(systems, ("peter", "peter-references"), strict=True):
        directory = tmp_path / name / "seed-0"
        directory.mkdir(parents=True)
        write_json(directory / SUMMARY, system.fit(data, 0, directory).to_dict())
    first, second = ((tmp_path / name / "seed-0" / WEIGHTS).read_bytes() for name in ("peter", "peter-references"))
    assert first == second
    pairs = data.valid.head(40)
    alone, referenced = (system.predict(pairs, Condition()) for system in systems)
    assert np.array_equal(alone.ratings, referenced.ratings)
    assert alone.texts != referenced.texts
    unknown = pairs.with_columns(user_id=pl.lit(0), item_id=pl.lit(0))
    without = [system.predict(unknown, Condition()).texts for system in systems]
    assert without[0] == without[1]
