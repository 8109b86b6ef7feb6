"""`gavamoe tune`: budgets, resume, pruning, and what it writes; best.yaml trains."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gavamoe.config import RunConfig, load_config, parse_config
from gavamoe.data.dataset import ReviewDataset
from gavamoe.errors import ConfigError, DataError, DivergenceError, RunError
from gavamoe.experiments import tune as tuning
from gavamoe.experiments.tune import TuneRequest, tune
from gavamoe.experiments.tune_space import explainer_space, preference_space, start_parameters, with_parameters
from gavamoe.experiments.tune_trials import TrialData, preference_trial, stage_1_with


@pytest.fixture(scope="module")
def small_config(tiny_config) -> RunConfig:
    explainer = tiny_config.explainer.model_copy(update={"epochs": 2, "expert_width": 32})
    preference = tiny_config.preference.model_copy(update={"pretrain_epochs": 2, "epochs": 3, "warmup_epochs": 0})
    return tiny_config.model_copy(update={"explainer": explainer, "preference": preference})


@pytest.fixture(scope="module")
def search(dataset_path, small_config, tmp_path_factory):
    """A finished search, its results and its notes."""
    out, notes = tmp_path_factory.mktemp("tune") / "search", []
    request = TuneRequest(small_config, "tiny", trials=2, limit=120)
    return out, tune(dataset_path, out, request, on_note=notes.append), notes


def rows(out):
    with (out / "trials.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def fake_losses(monkeypatch, preference=None, explainer=None):
    """Replace the trainings by functions of the settings; they report one epoch."""

    def preference_loss(self, config, report):
        value = preference(config) if preference else config.preference.beta
        report(1, value)
        return value

    def explainer_loss(self, config, report):
        value = explainer(config) if explainer else float(config.preference.clusters)
        report(1, value)
        return value

    monkeypatch.setattr(tuning._Search, "_preference_loss", preference_loss)
    monkeypatch.setattr(tuning._Search, "_explainer_loss", explainer_loss)


def test_both_stages_are_searched_from_the_configured_settings_on(search, small_config):
    _, results, notes = search
    assert [result.stage for result in results] == ["preference", "explainer"]
    for result in results:
        assert result.trials["complete"] + result.trials["pruned"] == 2
        assert result.loss <= result.start_loss
    first = results[1].history[0]
    assert first["preference.clusters"] == small_config.preference.clusters
    assert first["explainer.experts"] == small_config.explainer.experts
    assert len(notes) == 4


def test_best_yaml_is_a_configuration_with_the_best_trials(search):
    out, results, _ = search
    config = load_config("small", out / "best.yaml", [])
    for result in results:
        for name, value in result.best.items():
            stage, setting = name.split(".")
            assert getattr(getattr(config, stage), setting) == pytest.approx(value)
    assert config.explainer.max_reviews is None  # --limit is of the search, not of the settings


def test_every_trial_is_in_the_table_and_the_pages_are_complete(search):
    out, _, _ = search
    assert [row["stage"] for row in rows(out)] == ["preference"] * 2 + ["explainer"] * 2
    assert {row["state"] for row in rows(out)} <= {"complete", "pruned"}
    assert all(float(row["loss"]) > 0 for row in rows(out))
    for name in ("tune.md", "tune.html"):
        page = (out / name).read_text()
        assert "best.yaml" in page
        assert "explainer.learning_rate" in page
    assert "<svg" in (out / "tune.html").read_text()
    assert not (out / "trial").exists()


def test_a_finished_search_goes_on_with_more_trials(search, dataset_path, small_config, monkeypatch):
    out, before, _ = search
    fake_losses(monkeypatch)
    request = TuneRequest(small_config, "tiny", trials=3, limit=120)
    with pytest.raises(RunError, match="--resume"):
        tune(dataset_path, out, request)
    after = tune(dataset_path, out, request, resume=True)
    assert len(after[1].history) == 3
    assert len(after[0].history) == 2  # stage 1 is settled once stage 2 has trials
    assert after[0].best == before[0].best


@pytest.mark.slow
def test_an_interrupted_search_that_is_resumed_makes_the_trials_of_a_whole_one(
    dataset_path, small_config, tmp_path, monkeypatch
):
    request = TuneRequest(small_config, trials=7)  # one more than are drawn at random
    fake_losses(monkeypatch)
    whole = tune(dataset_path, tmp_path / "whole", request)
    calls = 0

    def interrupted(config):
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt
        return float(config.preference.clusters)

    fake_losses(monkeypatch, explainer=interrupted)
    with pytest.raises(KeyboardInterrupt):
        tune(dataset_path, tmp_path / "cut", request)
    assert load_config("small", tmp_path / "cut" / "best.yaml", [])  # written from what is finished
    cut = tune(dataset_path, tmp_path / "cut", request, resume=True)

    def parameters(result):
        done = [row for row in result.history if row["state"] != "interrupted"]
        return [{name: value for name, value in row.items() if "." in name} for row in done]

    assert [parameters(result) for result in cut] == [parameters(result) for result in whole]
    assert cut[1].trials["interrupted"] == 1


@pytest.mark.slow
def test_the_search_finds_what_is_better(dataset_path, small_config, tmp_path, monkeypatch):
    fake_losses(monkeypatch, explainer=lambda config: abs(config.preference.clusters - 2) + config.explainer.top_k / 10)
    results = tune(dataset_path, tmp_path / "search", TuneRequest(small_config, trials=16))
    assert results[1].best["preference.clusters"] == 2
    assert results[1].best["explainer.top_k"] == 1
    top = next(iter(results[1].importance))
    assert top == "preference.clusters"
    assert sum(results[1].importance.values()) == pytest.approx(1)


def test_a_trial_that_is_worse_than_others_is_pruned(dataset_path, small_config, tmp_path, monkeypatch):
    def loss(self, config, report):
        bad = report.__closure__ and trials["n"] >= 6
        trials["n"] += 1
        for epoch in range(1, 4):
            report(epoch, 9.0 if bad else 1.0 / epoch)
        return 1 / 3

    trials = {"n": 0}
    fake_losses(monkeypatch)
    monkeypatch.setattr(tuning._Search, "_preference_loss", loss)
    results = tune(dataset_path, tmp_path / "search", TuneRequest(small_config, stage="preference", trials=8))
    assert results[0].trials["pruned"] == 2
    assert results[0].trials["complete"] == 6


def test_settings_that_diverge_are_recorded_and_do_not_end_the_search(
    dataset_path, small_config, tmp_path, monkeypatch
):
    def sometimes(config):
        if config.preference.beta != small_config.preference.beta:
            raise DivergenceError("stage 1 diverged")
        return 1.0

    fake_losses(monkeypatch, preference=sometimes)
    results = tune(dataset_path, tmp_path / "search", TuneRequest(small_config, stage="preference", trials=3))
    assert results[0].trials == {"complete": 1, "pruned": 0, "failed": 2, "interrupted": 0}
    assert rows(tmp_path / "search")[1]["error"] == "stage 1 diverged"


def test_a_search_without_any_success_says_why(dataset_path, small_config, tmp_path, monkeypatch):
    def never(config):
        raise DivergenceError("stage 1 diverged")

    fake_losses(monkeypatch, preference=never)
    with pytest.raises(ConfigError, match="no trial of stage preference succeeded; the last one: stage 1 diverged"):
        tune(dataset_path, tmp_path / "search", TuneRequest(small_config, trials=2))


def test_the_time_limit_ends_the_running_trial_which_resume_makes_again(
    dataset_path, small_config, tmp_path, monkeypatch
):
    clock = iter(range(0, 100_000, 50))
    monkeypatch.setattr(tuning.time, "monotonic", lambda: float(next(clock)))
    fake_losses(monkeypatch)
    tune(dataset_path, tmp_path / "search", TuneRequest(small_config, stage="preference", trials=9, minutes=10))
    done = [row for row in rows(tmp_path / "search") if row["state"] == "complete"]
    assert 0 < len(done) < 9
    monkeypatch.undo()
    fake_losses(monkeypatch)
    results = tune(
        dataset_path, tmp_path / "search", TuneRequest(small_config, stage="preference", trials=9), resume=True
    )
    assert results[0].trials["complete"] + results[0].trials["pruned"] == 9


def test_stage_2_is_searched_only_on_a_finished_trial_of_stage_1(dataset_path, small_config, tmp_path, monkeypatch):
    request = TuneRequest(small_config, trials=2, minutes=10)
    clock = iter([0.0] * 3 + [200.0] * 3 + [700.0] * 1000)  # the first trial takes more than the share of stage 1
    monkeypatch.setattr(tuning.time, "monotonic", lambda: next(clock))
    fake_losses(monkeypatch)
    (result,) = tune(dataset_path, tmp_path / "search", request)
    assert result.stage == "preference"
    assert result.trials["complete"] == 1
    assert "--stage preference" in (tmp_path / "search" / "tune.md").read_text()
    monkeypatch.undo()
    fake_losses(monkeypatch)
    both = tune(dataset_path, tmp_path / "search", TuneRequest(small_config, trials=2), resume=True)
    assert [result.trials["complete"] + result.trials["pruned"] for result in both] == [2, 2]
    assert "--stage preference" not in (tmp_path / "search" / "tune.md").read_text()


def test_a_search_without_a_finished_trial_says_so(dataset_path, small_config, tmp_path, monkeypatch):
    clock = iter([0.0] * 3 + [700.0] * 1000)
    monkeypatch.setattr(tuning.time, "monotonic", lambda: next(clock))
    fake_losses(monkeypatch)
    with pytest.raises(ConfigError, match="no trial finished within 10 minutes; go on with --resume"):
        tune(dataset_path, tmp_path / "search", TuneRequest(small_config, trials=2, minutes=10))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"limit": 50}, "another limit"), ({"stage": "preference"}, "another stage"), ({"preset": "small"}, "preset")],
)
def test_a_search_is_not_resumed_as_another_one(search, dataset_path, small_config, change, message):
    given = {"preset": "tiny", "trials": 2, "limit": 120} | change
    with pytest.raises(ConfigError, match=message):
        tune(dataset_path, search[0], TuneRequest(small_config, **given), resume=True)


def test_a_search_that_is_not_there_and_data_without_texts_are_refused(
    dataset_path, ratings_path, small_config, tmp_path
):
    with pytest.raises(RunError, match="no search"):
        tune(dataset_path, tmp_path / "none", TuneRequest(small_config), resume=True)
    with pytest.raises(DataError, match="--stage preference"):
        tune(ratings_path, tmp_path / "none", TuneRequest(small_config))
    assert not (tmp_path / "none").exists()


def test_ratings_alone_are_searched_with_the_number_of_clusters(ratings_path, small_config, tmp_path):
    request = TuneRequest(small_config, stage="preference", trials=1)
    (result,) = tune(ratings_path, tmp_path / "search", request)
    assert "preference.clusters" in result.best
    assert "--stage preference" in (tmp_path / "search" / "tune.md").read_text()


def test_the_limit_draws_reviews_of_both_splits(dataset_path):
    dataset = ReviewDataset.load(dataset_path)
    data = TrialData(dataset, RunConfig(), 50)
    assert len(data.train) == 50
    assert len(data.valid) == 10
    assert data.train.user_id.max() <= dataset.catalog.n_users


def test_trials_reconstruct_what_the_settings_say(dataset_path, small_config):
    preference = small_config.preference.model_copy(update={"reconstructs": "ratings+words"})
    config = small_config.model_copy(update={"preference": preference})
    data = TrialData(ReviewDataset.load(dataset_path), config, 120)
    model, _ = preference_trial(data, config, lambda epoch, loss: None)
    assert model.vocabulary == data.vocabulary > 0
    assert len(data.train.units) == 120


def test_trials_of_stage_2_share_a_stage_1_only_if_its_settings_are_equal(dataset_path, small_config, tmp_path):
    data = TrialData(ReviewDataset.load(dataset_path), small_config, 120)
    preference = small_config.preference.model_copy(update={"beta": 0.5})
    other = small_config.model_copy(update={"preference": preference})
    weights = [
        stage_1_with(data, config, tmp_path).state_dict()["decoder.left.weight"]
        for config in (small_config, other, small_config)
    ]
    assert weights[0].equal(weights[2])
    assert not weights[0].equal(weights[1])


shapes = st.tuples(
    st.sampled_from([1, 2, 3, 4, 6, 8]), st.sampled_from([8, 12, 32, 96, 192]), st.sampled_from([1, 2, 4])
)


@given(shapes, st.data())
def test_every_combination_of_a_space_is_a_valid_configuration_of_the_same_total_width(shape, data):
    experts, width, granularity = shape
    if width % granularity:
        return
    explainer = {"experts": experts, "expert_width": width, "granularity": granularity, "top_k": 1}
    config = parse_config({"explainer": explainer})
    space = explainer_space(config, users=100, base=False)
    drawn = {}
    for dimension in space:
        if dimension.choices:
            drawn[dimension.setting] = data.draw(st.sampled_from(dimension.choices))
        else:
            drawn[dimension.setting] = data.draw(st.integers(2, int(dimension.high))) if not dimension.log else 1e-3
    changed = with_parameters(config, drawn, base=False).explainer
    assert changed.experts * changed.expert_width == experts * width
    refined = changed.expert_width // changed.granularity
    assert 0 <= changed.shared_experts * refined - width < refined  # top-1: as wide as one expert; whole experts only
    assert changed.top_k <= changed.experts


def test_the_first_trial_is_the_configured_one():
    config = RunConfig()
    space = [*preference_space(config, 500, with_clusters=False), *explainer_space(config, 500, base=False)]
    start = start_parameters(config, space, base=False)
    assert with_parameters(config, start, base=False).explainer.learning_rate == pytest.approx(2e-3)
    assert len(start) == len(space)
