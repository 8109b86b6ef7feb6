"""The recipes that come with the project, and what an ablation changes."""

from pathlib import Path

import pytest

from gavamoe.errors import ConfigError
from gavamoe.experiments.ablations import ablations, settings_of
from gavamoe.experiments.config import Recipe, load_recipe
from gavamoe.experiments.gavamoe import TrainingTimer
from gavamoe.experiments.systems import check_names

RECIPES = sorted((Path(__file__).parents[2] / "configs" / "compare").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_can_be_run(path):
    recipe = load_recipe(path)
    check_names(recipe)
    for name in recipe.models:
        changed = settings_of(name, recipe)
        if changed is not None:
            recipe.config(0, changed)


def test_the_command_line_goes_over_the_recipe(tmp_path):
    (tmp_path / "r.yaml").write_text("seeds: 5\nsettings: {explainer.epochs: 2, explainer.layers: 3}\n")
    recipe = load_recipe(tmp_path / "r.yaml", seeds=None, settings={"explainer.epochs": 4})
    assert recipe.seeds == 5
    config = recipe.config(7)
    assert (config.seed, config.explainer.epochs, config.explainer.layers) == (7, 4, 3)


def test_an_unknown_key_is_named(tmp_path):
    (tmp_path / "r.yaml").write_text("modles: [peter]\n")
    with pytest.raises(ConfigError, match=r"modles.*known are models, seeds"):
        load_recipe(tmp_path / "r.yaml")


def test_an_ablation_changes_nothing_but_itself():
    recipe = Recipe()
    base = recipe.config(0).model_dump()
    for changes in ablations(recipe.config(0).explainer).values():
        changed = recipe.config(0, changes).model_dump()
        differing = {f"{s}.{k}" for s in ("preference", "explainer") for k in base[s] if base[s][k] != changed[s][k]}
        assert differing == set(changes)


def test_a_dense_ffn_has_the_parameters_of_the_experts():
    config = Recipe().config(0).explainer
    dense = Recipe().config(0, ablations(config)["gavamoe-dense"]).explainer
    assert dense.experts * dense.expert_width == config.experts * config.expert_width
    assert dense.experts * dense.expert_rank == config.experts * config.expert_rank
    assert dense.top_k == dense.granularity == 1


def test_the_clock_counts_interrupted_sessions_until_their_last_file(tmp_path):
    written = tmp_path / "run"
    written.mkdir()
    first = TrainingTimer(tmp_path / "started", written)
    (written / "file").write_text("x")
    first.path.write_text(f"10 {(written / 'file').stat().st_mtime - 5}")
    second = TrainingTimer(tmp_path / "started", written)
    assert second.before == pytest.approx(15)
    assert second.stop() >= 15
    assert not (tmp_path / "started").exists()
