"""A whole training: resuming, single stages, and refused requests."""

import shutil

import polars as pl
import pytest
import torch
from helpers.weights import assert_same_weights
from safetensors.torch import load_file
from transformers import Trainer

from gavamoe.config import parse_config
from gavamoe.data.dataset import ReviewDataset
from gavamoe.data.prepare import PrepareOptions, prepare
from gavamoe.errors import ConfigError, DataError, RunError
from gavamoe.explainer.explainer import Explainer
from gavamoe.pipeline.run_setup import open_run
from gavamoe.pipeline.train import train_run
from gavamoe.preference.mixture_fit import observed_user_latents
from gavamoe.preference.model import PreferenceModel
from gavamoe.run import EXPLAINER_FILES, RunCard, RunDirectory


def weights(run, stage="explainer"):
    return load_file(run / stage / "model.safetensors")


def test_the_same_seed_gives_the_same_run_twice(dataset_path, run_path, tiny_config, tmp_path):
    train_run(dataset_path, tmp_path / "again", tiny_config, preset="tiny")
    for stage in ("preference", "explainer"):
        assert_same_weights(weights(run_path, stage), weights(tmp_path / "again", stage))


@pytest.mark.slow
@pytest.mark.parametrize("stop_at", [13, 20])  # between epochs, and in the middle of one
def test_an_interrupted_and_resumed_training_ends_with_the_same_weights(
    dataset_path, run_path, tiny_config, tmp_path, monkeypatch, stop_at
):
    real_step = Trainer.training_step
    steps = 0

    def step_then_stop(self, *args, **kwargs):
        nonlocal steps
        steps += 1
        if steps > stop_at:
            raise KeyboardInterrupt
        return real_step(self, *args, **kwargs)

    monkeypatch.setattr(Trainer, "training_step", step_then_stop)
    with pytest.raises(KeyboardInterrupt):
        train_run(dataset_path, tmp_path / "run", tiny_config, preset="tiny")
    monkeypatch.setattr(Trainer, "training_step", real_step)
    assert not (tmp_path / "run" / "explainer").exists()
    train_run(dataset_path, tmp_path / "run", tiny_config, preset="tiny", resume=True)
    assert_same_weights(weights(run_path), weights(tmp_path / "run"))
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_the_stages_can_be_trained_one_after_the_other(dataset_path, run_path, tiny_config, tmp_path):
    run = tmp_path / "run"
    train_run(dataset_path, run, tiny_config, stage="preference")
    with pytest.raises(RunError, match=r"explainer/config.json is missing"):
        Explainer.from_pretrained(run)
    train_run(dataset_path, run, tiny_config, stage="explainer")
    assert_same_weights(weights(run_path), weights(run))


def test_an_added_stage_keeps_the_settings_of_the_run(gavamoe, dataset_path, tiny_config, tmp_path):
    run = RunDirectory(tmp_path / "run")
    begun = tiny_config.model_copy(update={"seed": 5})
    train_run(dataset_path, run.path, begun, preset="tiny", stage="preference")
    code, _, err = gavamoe("train", dataset_path, "--out", run.path, "--stage", "explainer")
    assert code == 0, err
    card = run.read_card()
    assert (card.preset, card.settings) == ("tiny", begun)


def test_an_interrupted_added_stage_needs_resume(dataset_path, tiny_config, tmp_path):
    run = RunDirectory(tmp_path / "run")
    train_run(dataset_path, run.path, tiny_config, stage="preference")
    state = run.checkpoints / "explainer" / "checkpoint-1"
    state.mkdir(parents=True)
    with pytest.raises(RunError, match="unfinished training; continue it with --resume"):
        train_run(dataset_path, run.path, stage="explainer")
    assert state.is_dir()


def test_an_added_stage_is_checked_before_the_run_is_changed(dataset_path, tiny_config, tmp_path):
    run = RunDirectory(tmp_path / "run")
    train_run(dataset_path, run.path, tiny_config, stage="preference")
    before = run.card.read_bytes()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="cannot load the base model"):
        train_run(dataset_path, run.path, base_model=str(tmp_path / "empty"), stage="explainer")
    assert run.card.read_bytes() == before


def test_an_added_stage_keeps_the_base_model_of_the_run(dataset_path, tiny_config, tmp_path):
    run = RunDirectory(tmp_path / "run")
    train_run(dataset_path, run.path, tiny_config, stage="preference", base_model="some/base")
    asked = RunCard(str(dataset_path), "small", None, None)
    with open_run(run, ReviewDataset.load(dataset_path), asked, "explainer", resume=False) as card:
        assert card.base_model == "some/base"


@pytest.mark.parametrize("stage", ["all", "preference"])
def test_data_without_a_user_of_two_reviews_says_why_it_cannot_be_trained(tmp_path, tiny_config, stage):
    source = tmp_path / "alone.csv"
    source.write_text(
        "user,item,rating,text\n" + "".join(f"u{i},i{i % 5},{i % 5 + 1},a fine plot\n" for i in range(40))
    )
    prepare([str(source)], tmp_path / "data", PrepareOptions())
    with pytest.raises(DataError, match=r"no validation reviews: no user has two reviews"):
        train_run(tmp_path / "data", tmp_path / "run", tiny_config, stage=stage)
    assert not (tmp_path / "run").exists()


def test_data_without_texts_is_refused_before_stage_1_is_trained(dataset_path, tiny_config, tmp_path):
    silent = shutil.copytree(dataset_path, tmp_path / "data") / "interactions.parquet"
    (silent.parent / "manifest.json").unlink()
    pl.read_parquet(silent).with_columns(text=pl.lit(" ")).write_parquet(silent)
    with pytest.raises(DataError, match="no train reviews with text"):
        train_run(silent.parent, tmp_path / "run", tiny_config)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("setting", [{"learning_rate": None}, {"moe_layers": [0]}])
def test_resuming_with_another_setting_of_any_type_names_it(run_path, dataset_path, tiny_config, setting):
    other = tiny_config.model_copy(update={"explainer": tiny_config.explainer.model_copy(update=setting)})
    with pytest.raises(ConfigError, match=f"started with another explainer.{next(iter(setting))};"):
        train_run(dataset_path, run_path, other, resume=True)


def test_a_run_is_never_overwritten(dataset_path, run_path, tiny_config):
    before = weights(run_path)
    with pytest.raises(RunError, match="--resume, or choose another --out"):
        train_run(dataset_path, run_path, tiny_config)
    assert_same_weights(before, weights(run_path))


def test_resuming_a_missing_run_is_refused(dataset_path, tiny_config, tmp_path):
    with pytest.raises(RunError, match="no run at"):
        train_run(dataset_path, tmp_path / "none", tiny_config, resume=True)


def test_a_finished_run_has_no_pickle_and_no_training_state(run_path):
    assert not [path for path in run_path.rglob("*") if path.suffix in (".bin", ".pt", ".pth", ".pkl", ".pickle")]
    assert not RunDirectory(run_path).checkpoints.exists()


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"explainer": {"expert": 4}}, r"no setting 'explainer.expert'; known here: .*experts"),
        ({"explainer": {"top_k": 9}}, "top_k 9 cannot exceed experts 4"),
        ({"preference": {"beta": -1}}, "preference.beta"),
        ({"preferences": {}}, "no setting 'preferences'"),
    ],
)
def test_a_wrong_setting_is_named(tree, message):
    with pytest.raises(ConfigError, match=message):
        parse_config(tree)


def test_a_run_is_resumed_only_with_its_settings_and_data(run_path, dataset_path, tiny_config, tmp_path):
    other = tiny_config.model_copy(update={"seed": 5})
    with pytest.raises(ConfigError, match=r"started with another seed; --resume keeps"):
        train_run(dataset_path, run_path, other, resume=True)
    with pytest.raises(ConfigError, match="started with another base model"):
        train_run(dataset_path, run_path, base_model="some/model", resume=True)
    prepare([str(dataset_path.parent / "reviews.jsonl.gz")], tmp_path / "other", PrepareOptions(seed=9))
    with pytest.raises(RunError, match="is not the data"):
        train_run(tmp_path / "other", run_path, resume=True)
    before = weights(run_path)
    train_run(dataset_path, run_path, resume=True)  # nothing is left to do
    assert_same_weights(before, weights(run_path))


def test_more_clusters_than_users_are_refused_before_training_and_leave_nothing(dataset_path, tiny_config, tmp_path):
    users = ReviewDataset.load(dataset_path).catalog.n_users
    settings = tiny_config.model_dump(exclude_unset=True)
    settings["preference"] = settings.get("preference", {}) | {"clusters": users + 1}
    with pytest.raises(ConfigError, match=rf"has {users}; set preference.clusters={users} or lower"):
        train_run(dataset_path, tmp_path / "run", parse_config(settings))
    assert not (tmp_path / "run").exists()


def test_as_many_clusters_as_users_are_fitted_to_users_with_few_reviews_too():
    model = PreferenceModel(users=6, items=4, levels=5, clusters=5)
    reviews = torch.tensor([0, 9, 9, 9, 1, 1, 0])  # of the unknown user and of six users
    assert len(observed_user_latents(model, reviews, clusters=3)) == 3
    assert len(observed_user_latents(model, reviews, clusters=4)) == 5


def test_a_dataset_named_as_a_run_is_called_a_dataset(dataset_path):
    with pytest.raises(
        RunError, match=f"is a prepared dataset, not a run; train one with `gavamoe train {dataset_path}"
    ):
        RunDirectory(dataset_path).require()


def test_an_impossible_run_leaves_no_files(dataset_path, tmp_path):
    config = parse_config({"preference": {"clusters": 1000, "pretrain_epochs": 1}})
    with pytest.raises(ConfigError, match="1000 clusters need"):
        train_run(dataset_path, tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


def test_stage_2_that_cannot_begin_leaves_nothing_and_can_be_started_with_other_settings(
    dataset_path, tiny_config, tmp_path, monkeypatch
):
    def refuse(*_, **__):
        raise ConfigError("a setting is impossible")

    run = RunDirectory(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr("gavamoe.explainer.train.fit_explainer", refuse)
        with pytest.raises(ConfigError, match="impossible"):
            train_run(dataset_path, run.path, tiny_config)
    assert run.has_stage_1_alone
    changed = tiny_config.explainer.model_copy(update={"epochs": 1})
    train_run(dataset_path, run.path, tiny_config.model_copy(update={"explainer": changed}), stage="explainer")
    assert run.has(EXPLAINER_FILES)
