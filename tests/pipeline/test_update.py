"""`train --update`: a warm start of both stages on a run's data with newer reviews appended."""

import json
import shutil

import numpy as np
import polars as pl
import pytest
import torch
import yaml
from helpers.checkpoints import save_base
from helpers.runs import unsealed_copy
from helpers.streams import prepare_splits, with_newcomers
from helpers.weights import assert_same_weights
from helpers.worlds import TINY
from safetensors.torch import load_file
from transformers import Trainer

from gavamoe.config import ExplainerConfig, PreferenceConfig, parse_config
from gavamoe.data.catalog import Catalog
from gavamoe.data.dataset import ReviewDataset, id_arrays
from gavamoe.data.scale import RatingScale
from gavamoe.errors import ConfigError, DataError, InputError, RunError
from gavamoe.explainer.explainer import Explainer
from gavamoe.files import sha256_of_file
from gavamoe.pipeline.evaluate import load_reviews
from gavamoe.pipeline.train import summary, train_run
from gavamoe.pipeline.update import EXPLAINER_MAY_CHANGE, PREFERENCE_MAY_CHANGE
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.trainer import PreferenceTrainer, best_record
from gavamoe.run import RunDirectory


def weights(run, stage="explainer"):
    return load_file(run / stage / "model.safetensors")


def best_losses(run):
    records = RunDirectory(run).read_training()
    losses = [record["eval_loss"] for record in records["explainer"] if "eval_loss" in record]
    return best_record(records["preference"])["valid_objective"], losses


@pytest.fixture(scope="module")
def same_update(dataset_path, run_path, tmp_path_factory):
    """An update on the data of the run itself."""
    out = tmp_path_factory.mktemp("update") / "same"
    train_run(dataset_path, out, update=run_path)
    return out


@pytest.fixture(scope="module")
def grown_path(dataset_path, tmp_path_factory):
    """The data of the run, with a user and an item that review (are reviewed) as a known one does."""
    target = tmp_path_factory.mktemp("grown") / "data"
    return with_newcomers(dataset_path, target, {"newcomer": "u01"}, {"novelty": "i03"})


@pytest.fixture(scope="module")
def grown_update(grown_path, run_path, tmp_path_factory):
    out = tmp_path_factory.mktemp("update") / "grown"
    train_run(grown_path, out, update=run_path)
    return out


def test_an_update_without_new_data_ends_no_worse_than_its_source(run_path, same_update):
    (_, old), (objective, new) = best_losses(run_path), best_losses(same_update)
    assert new[0] == pytest.approx(min(old), abs=0.02)  # epoch 0 is the source, but for stage 1
    start = RunDirectory(same_update).read_training()["preference"][0]
    assert start["epoch"] == 0
    assert objective <= start["valid_objective"]
    figures = Explainer.from_pretrained(same_update), ReviewDataset.load(RunDirectory(same_update).read_card().data)
    valid = figures[1].interactions("valid")
    before = PreferenceModel.from_pretrained(run_path / "preference").eval()
    level = valid["level"].to_numpy()
    rmse = [
        float(np.sqrt(np.mean((model.predict_rating(*id_arrays(valid)).numpy() - level) ** 2)))
        for model in (before, figures[0].preference)
    ]
    assert rmse[1] < rmse[0] + 0.05


def test_clusters_keep_their_numbers_so_that_gates_stay_valid(run_path, same_update, dataset_path):
    reviews = ReviewDataset.load(dataset_path).interactions()
    pairs = tuple(map(torch.from_numpy, id_arrays(reviews)))
    before, after = (
        PreferenceModel.from_pretrained(run / "preference").eval().assign(*pairs) for run in (run_path, same_update)
    )
    assert (before == after).float().mean() > 0.9


def test_known_ids_keep_their_rows_by_name_and_new_ones_get_rows(run_path, grown_path, grown_update):
    old, new = Explainer.from_pretrained(run_path), Explainer.from_pretrained(grown_update)
    assert new.catalog.n_users == old.catalog.n_users + 1
    assert new.model.user_token.vectors.num_embeddings == new.catalog.n_users + 1
    assert new.model.item_token.vectors.num_embeddings == new.catalog.n_items + 1
    assert new.tokenizer.get_vocab() == old.tokenizer.get_vocab()
    shift = new.catalog.user_id("u01") - old.catalog.user_id("u01")
    assert shift == 1  # "newcomer" comes first: positions moved, rows must not be taken by position
    rows = [
        explainer.model.user_token.vectors.weight[[explainer.catalog.user_id(f"u{u:02d}") for u in range(1, 20)]]
        for explainer in (old, new)
    ]
    similarity = torch.nn.functional.cosine_similarity(*rows)
    assert similarity.min() > 0.5
    explanation = new.explain("newcomer", "novelty")
    assert not explanation.cold_user
    assert not explanation.cold_item


def test_card_and_model_card_say_what_the_run_is_an_update_of(run_path, grown_update):
    record = RunDirectory(grown_update).read_card().updated_from
    assert record["run"] == str(run_path.resolve())
    assert record["digest"] == RunDirectory(run_path).digest()
    assert (record["new_users"], record["new_items"], record["lost_users"]) == (1, 1, 0)
    page = (grown_update / "README.md").read_text()
    assert "An update of the run `run`" in page
    assert "1 new users, 1 new items" in page
    assert str(run_path.parent) not in page


def test_an_update_trains_for_the_epochs_of_its_own_setting(run_path, dataset_path, same_update, tiny_config):
    records = RunDirectory(same_update).read_training()
    config = RunDirectory(same_update).read_card().settings
    assert config.explainer.epochs == tiny_config.explainer.epochs  # the run's settings are kept
    assert len([r for r in records["explainer"] if "eval_loss" in r]) == 1 + config.explainer.update_epochs
    assert not [r for r in records["preference"] if r["phase"] == "pretrain"]
    assert max(r.get("epoch", 0) for r in records["preference"]) <= config.preference.update_epochs
    assert all(r["settled"] for r in records["preference"] if r["phase"] == "joint")  # none is a warm-up
    assert summary(RunDirectory(same_update))["explainer"]["epochs"] == config.explainer.update_epochs


@pytest.mark.parametrize(
    ("stage", "stop_at", "with_source"),
    [
        ("preference", 25, False),
        ("explainer", 20, True),
        pytest.param("explainer", 13, False, marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_update_that_is_resumed_ends_with_the_same_weights(
    stage, stop_at, with_source, grown_path, run_path, grown_update, tmp_path, monkeypatch
):
    owner, name = (PreferenceTrainer, "step") if stage == "preference" else (Trainer, "training_step")
    real_step, steps = getattr(owner, name), 0

    def step_then_stop(self, *args, **kwargs):
        nonlocal steps
        steps += 1
        if steps > stop_at:
            raise KeyboardInterrupt
        return real_step(self, *args, **kwargs)

    monkeypatch.setattr(owner, name, step_then_stop)
    with pytest.raises(KeyboardInterrupt):
        train_run(grown_path, tmp_path / "run", update=run_path)
    monkeypatch.undo()
    assert not (tmp_path / "run" / stage).exists()
    train_run(grown_path, tmp_path / "run", resume=True, update=run_path if with_source else None)
    for part in ("preference", "explainer"):
        assert_same_weights(weights(grown_update, part), weights(tmp_path / "run", part))
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_resuming_refuses_a_source_that_has_changed_or_gone(grown_path, run_path, tmp_path, monkeypatch):
    source = shutil.copytree(run_path, tmp_path / "source")
    monkeypatch.setattr(Trainer, "training_step", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_run(grown_path, tmp_path / "run", update=source)
    monkeypatch.undo()
    shutil.move(source, tmp_path / "moved")
    with pytest.raises(RunError, match="say where it is with --update"):
        train_run(grown_path, tmp_path / "run", resume=True)
    other = unsealed_copy(tmp_path / "moved", tmp_path / "other")
    (other / "catalog" / "features.json").write_text("[]")
    with pytest.raises(RunError, match="is not the run that the update started from"):
        train_run(grown_path, tmp_path / "run", resume=True, update=other)
    train_run(grown_path, tmp_path / "run", resume=True, update=tmp_path / "moved")
    shutil.rmtree(tmp_path / "moved")
    train_run(grown_path, tmp_path / "run", resume=True)  # it is finished: its source is not needed any more


def _interrupt(*arguments, **options):
    raise KeyboardInterrupt


def test_every_setting_either_may_change_in_an_update_or_describes_the_model():
    preference = {"clusters", "choose_clusters", "latent", "embedding", "hidden", "item_features", "reconstructs"}
    preference |= {"text_latent", "dropout", "user_rows"}
    explainer = {"hidden", "layers", "heads", "vocabulary", "dropout", "initialisation", "partition", "experts"}
    explainer |= {"expert_width", "expert_rank", "top_k", "granularity", "shared_experts", "moe_layers", "tuning"}
    explainer |= {"gate_clusters", "gate", "router_jitter", "balance_weight", "z_weight", "soft_token_width", "history"}
    explainer |= {"use_preference_vectors", "prompt_template", "prompt_tokens", "chat_template", "evidence"}
    for config, model, may_change in (
        (PreferenceConfig, preference, PREFERENCE_MAY_CHANGE),
        (ExplainerConfig, explainer, EXPLAINER_MAY_CHANGE),
    ):
        assert not model & may_change
        assert model | may_change == config.model_fields.keys()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preference": {"clusters": 4}}, "preference.clusters=4: .* was trained with 3"),
        ({"preference": {"latent": 4}}, "preference.latent=4"),
        ({"preference": {"choose_clusters": "bic"}}, "preference.choose_clusters=bic"),
        ({"explainer": {"experts": 8}}, "explainer.experts=8"),
        ({"explainer": {"granularity": 1}}, "explainer.granularity=1"),
        ({"explainer": {"prompt_template": "natural"}}, "explainer.prompt_template=natural"),
        ({"explainer": {"gate_clusters": "one"}}, "explainer.gate_clusters=one"),
    ],
)
def test_a_setting_that_describes_another_model_is_refused(
    settings, message, dataset_path, run_path, tiny_config, tmp_path
):
    config = tiny_config.model_copy(
        update={step: getattr(tiny_config, step).model_copy(update=values) for step, values in settings.items()}
    )
    with pytest.raises(ConfigError, match=message):
        train_run(dataset_path, tmp_path / "run", config, update=run_path)
    assert not (tmp_path / "run").exists()


def test_other_data_another_base_and_a_missing_stage_are_refused(
    dataset_path, run_path, rating_run_path, reviews, tmp_path
):
    frame = pl.DataFrame(reviews).with_columns(split=pl.Series(["train", "train", "valid", "test"] * 30))
    strangers = prepare_splits(frame, tmp_path / "strangers")
    with pytest.raises(DataError, match="none of the items"):
        train_run(strangers, tmp_path / "run", update=run_path)
    scaled = prepare_splits(
        frame.with_columns(pl.col("rating") * 2), tmp_path / "scaled", scale=RatingScale.parse("1:10")
    )
    with pytest.raises(DataError, match=r"10 levels.* was trained on 1\.\.5"):
        train_run(scaled, tmp_path / "run", update=run_path)
    with pytest.raises(ConfigError, match="is built around an LM from scratch"):
        train_run(dataset_path, tmp_path / "run", base_model=save_base(tmp_path / "base"), update=run_path)
    with pytest.raises(RunError, match="has stage 1 alone: update it with --stage preference"):
        train_run(dataset_path, tmp_path / "run", update=rating_run_path)
    with pytest.raises(RunError, match="there is no run"):
        train_run(dataset_path, tmp_path / "run", update=tmp_path / "none")
    assert not (tmp_path / "run").exists()
    copy = unsealed_copy(run_path, tmp_path / "begun")
    shutil.rmtree(copy / "explainer")
    with pytest.raises(InputError, match="started without --update"):
        train_run(dataset_path, copy, resume=True, update=run_path)


def test_stage_1_alone_is_updated_and_its_texts_can_be_added_later(grown_path, run_path, grown_update, tmp_path):
    train_run(grown_path, tmp_path / "run", stage="preference", update=run_path)
    assert RunDirectory(tmp_path / "run").has_stage_1_alone
    train_run(grown_path, tmp_path / "run", stage="explainer")
    assert_same_weights(weights(grown_update), weights(tmp_path / "run"))


def test_reviews_that_the_source_was_trained_on_and_that_are_held_out_now_are_counted(dataset_path, run_path, tmp_path):
    reviews = ReviewDataset.load(dataset_path).interactions().select("user", "item", "rating", "text", "split")
    train = reviews.filter(pl.col("split") == "train")
    moved = train.unique("user", keep="last", maintain_order=True).head(7).select("user", "item")
    reviews = reviews.join(moved.with_columns(moved=True), on=["user", "item"], how="left")
    split = pl.when(pl.col("moved")).then(pl.lit("test")).otherwise("split")
    data = prepare_splits(reviews.with_columns(split=split).drop("moved"), tmp_path / "data")
    notes = []
    train_run(data, tmp_path / "run", stage="preference", update=run_path, on_note=notes.append)
    assert RunDirectory(tmp_path / "run").read_card().updated_from["held_out_seen"] == 7
    assert any("7 of" in note and "optimistic" in note for note in notes)
    assert "evaluations on them are optimistic" in (tmp_path / "run" / "README.md").read_text()
    run = RunDirectory(tmp_path / "run")
    about = load_reviews(run, Catalog.load(run.catalog), None, "test").about
    assert about["seen_by_updated_run"].startswith("7 of ")


@pytest.mark.slow
def test_an_update_of_an_update_goes_on(grown_path, grown_update, tmp_path):
    target = with_newcomers(grown_path, tmp_path / "data", {"another": "u02"}, {})
    train_run(target, tmp_path / "run", update=grown_update)
    explainer = Explainer.from_pretrained(tmp_path / "run")
    assert explainer.catalog.user_id("newcomer")
    assert explainer.explain("another", "novelty").cold_user is False


@pytest.mark.slow
def test_a_run_around_a_base_is_updated_merged(grown_path, dataset_path, tiny_config, tmp_path):
    base = save_base(tmp_path / "base")
    explainer = tiny_config.explainer.model_copy(
        update={"epochs": 1, "max_tokens": 12, "expert_rank": 8, "learning_rate": 1e-3, "save": "adapter"}
    )
    train_run(dataset_path, tmp_path / "old", tiny_config.model_copy(update={"explainer": explainer}), base_model=base)
    with pytest.raises(ConfigError, match=r"add --set explainer\.save=merged"):
        train_run(grown_path, tmp_path / "new", update=tmp_path / "old")
    merged = explainer.model_copy(update={"save": "merged"})
    config = tiny_config.model_copy(update={"explainer": merged})
    train_run(grown_path, tmp_path / "new", config, base_model=base, update=tmp_path / "old")
    shutil.rmtree(base)
    assert not Explainer.from_pretrained(tmp_path / "new").explain("newcomer", "i01").cold_user
    losses = best_losses(tmp_path / "old")[1], best_losses(tmp_path / "new")[1]
    assert losses[1][0] < losses[0][0] + 0.5
    assert min(losses[1]) <= losses[1][0]


def test_the_source_is_left_as_it_was(run_path, grown_path, tmp_path):
    before = {path: sha256_of_file(path) for path in run_path.rglob("*") if path.is_file()}
    train_run(grown_path, tmp_path / "run", stage="preference", update=run_path)
    assert before == {path: sha256_of_file(path) for path in run_path.rglob("*") if path.is_file()}


def test_run_yaml_with_a_damaged_record_is_one_line(grown_update, tmp_path):
    run = RunDirectory(shutil.copytree(grown_update, tmp_path / "run"))
    tree = yaml.safe_load(run.card.read_text())
    run.card.write_text(yaml.safe_dump({**tree, "updated_from": "a run"}, explicit_end=True))
    with pytest.raises(RunError, match="cannot be read as the card of a run"):
        run.read_card()


def test_the_training_file_is_json_without_nan(grown_update):
    json.loads((grown_update / "training.json").read_text(), parse_constant=lambda text: pytest.fail(text))


def test_a_run_whose_users_share_rows_explains_and_is_updated(dataset_path, grown_path, tmp_path):
    config = parse_config({**TINY, "preference": {**TINY["preference"], "user_rows": 12}})
    train_run(dataset_path, tmp_path / "run", config)
    old = Explainer.from_pretrained(tmp_path / "run")
    assert old.model.user_token.vectors.weight.shape[0] == 13
    assert old.model.user_token.vectors.row_N.tolist() == old.preference.user_row_N.tolist()
    train_run(grown_path, tmp_path / "newer", update=tmp_path / "run")
    new = Explainer.from_pretrained(tmp_path / "newer")
    assert new.model.user_token.vectors.row_N.tolist() == new.preference.user_row_N.tolist()
    row_of = [explainer.preference.user_row_N[explainer.catalog.user_id("u07")] for explainer in (old, new)]
    assert row_of[0] == row_of[1]
    assert new.preference.user_row_N[new.catalog.user_id("newcomer")] == 1  # of 12 rows, one is shared
    assert new.explain("newcomer", "novelty").user_source == "training"
