"""The configurations in configs/compare, what an ablation changes, and the training timer."""

import contextlib
import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gavamoe.errors import ConfigError
from gavamoe.experiments.ablations import ablation_settings
from gavamoe.experiments.config import CompareConfig, load_compare_config
from gavamoe.experiments.systems import resolve_systems
from gavamoe.experiments.training_timer import TrainingTimer
from gavamoe.presets.auto import auto_settings

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "compare").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_can_be_run(path):
    config = load_compare_config(path)
    specs = resolve_systems(config)
    assert [spec.name for spec in specs] == list(config.models)
    for spec in specs:
        if spec.settings is not None:
            assert spec.config == config.run_config(spec.settings)


def test_the_command_line_overrides_the_file(tmp_path):
    (tmp_path / "r.yaml").write_text("seeds: 5\nsettings: {explainer.epochs: 2, explainer.layers: 3}\n")
    compare_config = load_compare_config(tmp_path / "r.yaml", seeds=None, settings={"explainer.epochs": 4})
    assert compare_config.seeds == 5
    config = compare_config.run_config(seed=7)
    assert (config.seed, config.explainer.epochs, config.explainer.layers) == (7, 4, 3)


def test_the_preset_auto_is_resolved_by_the_reviews_and_gives_way_to_settings(tmp_path):
    (tmp_path / "r.yaml").write_text("preset: auto\n")
    config = load_compare_config(tmp_path / "r.yaml", lambda: 320)
    assert config.run_config().explainer.epochs == auto_settings(320)["explainer"]["epochs"] == 40
    few = load_compare_config(None, lambda: 10**6, preset="auto", settings={"explainer.max_reviews": 800})
    assert few.run_config().explainer.epochs == 20
    own = load_compare_config(None, lambda: 320, preset="auto", settings={"explainer.epochs": 3})
    assert own.run_config().explainer.epochs == 3


def test_the_preset_auto_is_pretrained_with_a_base_model():
    config = load_compare_config(None, lambda: 320, preset="auto", base_model="smollm2-135m")
    assert config == load_compare_config(None, preset="pretrained", base_model="smollm2-135m")


def test_an_unknown_key_is_named(tmp_path):
    (tmp_path / "r.yaml").write_text("modles: [peter]\n")
    with pytest.raises(ConfigError, match=r"modles.*known are models, seeds"):
        load_compare_config(tmp_path / "r.yaml")


def test_an_ablation_changes_nothing_but_itself():
    config = CompareConfig(settings={"explainer.mbr_content_words": True})  # which gavamoe-drafts-alone turns off
    base = config.run_config().model_dump()
    for changes in ablation_settings(config.run_config().explainer).values():
        changed = config.run_config(changes).model_dump()
        differing = {f"{s}.{k}" for s in ("preference", "explainer") for k in base[s] if base[s][k] != changed[s][k]}
        assert differing == set(changes)


@given(
    shared=st.none() | st.integers(0, 8),
    granularity=st.sampled_from([1, 2, 4, 8]),
    base=st.sampled_from([None, "adapter", "random"]),
)
def test_dense_and_coarse_ablations_keep_the_width_of_all_experts(shared, granularity, base):
    settings = {"explainer.granularity": granularity}
    settings |= {} if shared is None else {"explainer.shared_experts": shared}
    settings |= {} if base is None else {"explainer.initialisation": base}
    config = CompareConfig(settings=settings, base_model=base)

    def widths(changes):
        explainer = config.run_config(changes).explainer.resolve_defaults(base is not None)
        neurons = explainer.expert_rank if base == "adapter" else explainer.expert_width
        width = neurons // explainer.granularity
        return explainer.experts * neurons, explainer.shared_experts * width, width

    routed, kept, _ = widths({})
    ablations = ablation_settings(config.run_config().explainer)
    assert widths(ablations["gavamoe-dense"])[:2] == (routed + kept, 0)
    dense = config.run_config(ablations["gavamoe-dense"]).explainer
    assert dense.top_k == dense.granularity == 1
    coarse_routed, coarse_shared, width = widths(ablations["gavamoe-coarse"])
    assert coarse_routed == routed
    assert 0 <= coarse_shared - kept < width  # whole experts only


def test_the_timer_adds_the_seconds_of_interrupted_sessions(tmp_path):
    path = tmp_path / "seconds.json"
    path.write_text('{"seconds": 10}')
    with contextlib.suppress(KeyboardInterrupt), TrainingTimer(path):
        time.sleep(0.05)
        raise KeyboardInterrupt
    interrupted = json.loads(path.read_text())["seconds"]
    assert 10.05 <= interrupted < 15
    with TrainingTimer(path) as timer:
        time.sleep(0.05)
    assert timer.before == interrupted
    assert timer.seconds >= interrupted + 0.05


def test_a_killed_session_counts_up_to_the_last_write_of_the_timer(tmp_path):
    path = tmp_path / "seconds.json"
    with TrainingTimer(path, interval=0.01):
        while not path.is_file():
            time.sleep(0.01)
        written = json.loads(path.read_text())["seconds"]  # what a killed process leaves
    assert 0 < written < 15


def test_variants_with_the_same_training_settings_share_weights():
    models = ("gavamoe", "peter", "greedy", "gavamoe-dense", "gavamoe-drafts-alone")
    config = CompareConfig(models=models, variants={"greedy": {"set": {"explainer.temperature": 0}}})
    assert {spec.name: spec.reuse_weights_from for spec in resolve_systems(config)} == {
        "gavamoe": None,
        "peter": None,
        "greedy": "gavamoe",
        "gavamoe-dense": None,
        "gavamoe-drafts-alone": "gavamoe",
    }
