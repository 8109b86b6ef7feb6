"""Settings: sources and old names, and what the settings that no other test names change."""

import numpy as np
import pytest
import torch
import yaml
from helpers.checkpoints import save_base
from helpers.soft_tokens import random_vectors
from helpers.worlds import TINY
from hypothesis import given
from hypothesis import strategies as st

import gavamoe.config
from gavamoe.config import (
    RENAMED,
    ExplainerConfig,
    PreferenceConfig,
    RunConfig,
    load,
    load_config,
    merge,
    parse_config,
    preset_names,
    settings,
)
from gavamoe.data.dataset import InteractionArrays
from gavamoe.distributed import use_bf16
from gavamoe.errors import ConfigError, RunError
from gavamoe.explainer import build
from gavamoe.explainer.context import PairContext
from gavamoe.explainer.dataset import ExplanationDataset
from gavamoe.explainer.lora import add_lora
from gavamoe.explainer.trainer import training_arguments
from gavamoe.language.encoding import PromptEncoder
from gavamoe.preference.batches import Interactions
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.trainer import PreferenceTrainer, fit_preference
from gavamoe.presets.auto import LEAST_EPOCHS, MOST_EPOCHS
from gavamoe.run import RunCard, RunDirectory

# step, old name, current name, a value that is not the default
RENAMES = [
    ("preference", "vector_rate", "embedding_learning_rate", 0.08),
    ("explainer", "side_width", "soft_token_width", 16),
    ("explainer", "taste_vectors", "use_preference_vectors", False),
    ("explainer", "heard", "mbr_references", 4),
]
renames = pytest.mark.parametrize(("step", "old", "new", "value"), RENAMES)


def setting(config: RunConfig, step: str, name: str):
    return getattr(getattr(config, step), name)


def test_gavamoe_config_has_every_public_name_of_its_modules():
    for module in (load, settings):
        own = {name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__}
        own |= {name for name in vars(module) if name.isupper()}
        assert {name for name in own if not name.startswith("_")} <= set(gavamoe.config.__all__)


def test_every_renamed_setting_is_covered_and_exists():
    assert {(step, old): new for step, old, new, _ in RENAMES} == {
        (step, old): new for step, names in RENAMED.items() for old, new in names.items()
    }
    for step, old, new, value in RENAMES:
        fields = {"preference": PreferenceConfig, "explainer": ExplainerConfig}[step].model_fields
        assert new in fields
        assert old not in fields
        assert fields[new].default != value


@renames
def test_an_old_name_works_in_a_file_and_a_dump_has_the_current_name(step, old, new, value, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({step: {old: value}}))
    config = load_config("small", path)
    assert setting(config, step, new) == value
    dump = config.model_dump()[step]
    assert dump[new] == value
    assert old not in dump


@renames
def test_an_old_name_works_in_set_and_overrides_the_current_name_of_a_file(step, old, new, value, tmp_path):
    path = tmp_path / "config.yaml"
    default = setting(RunConfig(), step, new)
    path.write_text(yaml.safe_dump({step: {new: default}}))
    assert setting(load_config("small", path, [f"{step}.{old}={value}"]), step, new) == value
    assert merge({step: {old: value}}, {step: {new: default}}) == {step: {new: default}}


@renames
def test_an_old_name_works_in_the_run_card_of_an_older_run(step, old, new, value, tmp_path):
    run = RunDirectory(tmp_path)
    run.write_card(RunCard("data", "small", None, parse_config({step: {new: value}})))
    tree = yaml.safe_load(run.card.read_text())
    tree["config"][step][old] = tree["config"][step].pop(new)
    run.card.write_text(yaml.safe_dump(tree | {"version": 1}))
    assert run.read_card().settings == parse_config({step: {new: value}})


def test_a_run_card_that_was_cut_off_after_any_line_is_refused(tmp_path):
    run = RunDirectory(tmp_path)
    run.write_card(RunCard("data", "small", None, parse_config({})))
    lines = run.card.read_text().splitlines(keepends=True)
    for count in range(len(lines)):
        run.card.write_text("".join(lines[:count]))
        with pytest.raises(RunError, match=r"run\.yaml cannot be read"):
            run.read_card()


@renames
def test_an_old_and_a_current_name_together_are_one_clear_error(step, old, new, value):
    with pytest.raises(ConfigError, match=rf"^{step}\.{old} is the old name of {step}\.{new}; give one of them$"):
        parse_config({step: {old: value, new: value}})


@given(few=st.integers(0, 10**7), more=st.integers(0, 10**7))
def test_the_preset_auto_trains_fewer_reviews_for_at_least_as_many_epochs(few, more):
    few, more = sorted((few, more))
    epochs = [load_config("auto", reviews=reviews).explainer.epochs for reviews in (few, more)]
    assert MOST_EPOCHS >= epochs[0] >= epochs[1] >= LEAST_EPOCHS


def test_the_preset_auto_counts_only_the_reviews_that_are_trained_on():
    limited = load_config("auto", None, ["explainer.max_reviews=300"], reviews=100_000).explainer
    assert (limited.epochs, limited.max_reviews) == (load_config("auto", reviews=300).explainer.epochs, 300)
    assert load_config("auto", None, ["explainer.max_reviews=null"], reviews=300).explainer.epochs == limited.epochs


def test_the_preset_auto_can_be_overridden_and_needs_data():
    assert load_config("auto", None, ["explainer.epochs=3"], reviews=100).explainer.epochs == 3
    with pytest.raises(ConfigError, match="auto depends on the data"):
        load_config("auto")


def test_every_setting_has_a_description_and_every_preset_loads():
    for config in (RunConfig, PreferenceConfig, ExplainerConfig):
        assert all(field.description for field in config.model_fields.values())
    for preset in preset_names():
        assert isinstance(load_config(preset), RunConfig)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"preference": {"weight_decay": -1}}, "setting preference.weight_decay"),
        ({"explainer": {"warmup_ratio": 1}}, "setting explainer.warmup_ratio"),
        ({"explainer": {"decay": 1}}, "there is no setting 'explainer.decay'; known here: .*weight_decay"),
        ({"explainer": {"hidden": 30, "heads": 4}}, "hidden 30 must be a multiple of heads 4"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(tree, message):
    with pytest.raises(ConfigError, match=message):
        parse_config(tree)


# Stage 1


def random_pairs(seed: int, count: int) -> InteractionArrays:
    rng = np.random.default_rng(seed)
    return InteractionArrays(rng.integers(1, 31, count), rng.integers(1, 21, count), rng.integers(1, 6, count))


SMALL = {"clusters": 2, "latent": 4, "embedding": 8, "hidden": 8, "restarts": 1}


def preference_trainer(**settings) -> PreferenceTrainer:
    config = PreferenceConfig(**SMALL, **settings)
    pairs = Interactions(random_pairs(0, 2000))
    return PreferenceTrainer(PreferenceModel.from_config(30, 20, 5, config), pairs, pairs, config, 0, None)


def test_stage_1_optimisers_use_the_configured_rates():
    networks, tables = preference_trainer(learning_rate=0.02, weight_decay=0.3, embedding_learning_rate=0.07).optimizers
    assert (networks.param_groups[0]["lr"], networks.param_groups[0]["weight_decay"]) == (0.02, 0.3)
    assert tables.param_groups[0]["lr"] == 0.07


def test_stage_1_batch_size_is_a_limit():
    assert preference_trainer(batch_size=48).batch_size == 48
    assert preference_trainer(batch_size=5000).batch_size == 2000 // 20


def test_stage_1_dropout_reaches_encoder_and_decoder():
    model = PreferenceModel.from_config(30, 20, 5, PreferenceConfig(**SMALL, dropout=0.3))
    rates = [module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    assert rates == [0.3] * 5


def test_stage_1_patience_counts_epochs_without_a_better_objective():
    config = PreferenceConfig(**SMALL, patience=1, pretrain_epochs=40, epochs=3, id_dropout=0.0, learning_rate=0.05)
    model = PreferenceModel.from_config(30, 20, 5, config)
    history = fit_preference(model, random_pairs(0, 200), random_pairs(1, 50), config)
    objective = [record["valid_objective"] for record in history if record["phase"] == "pretrain"]
    assert len(objective) < 40
    assert objective[:-1] == sorted(objective[:-1], reverse=True)
    assert objective[-1] >= objective[-2]


def test_stage_1_precision_chooses_the_type_of_the_products():
    types = []
    for precision in ("fp32", "bf16"):
        trainer = preference_trainer(precision=precision)
        trainer.model.decoder.register_forward_hook(lambda module, inputs, output: types.append(output.dtype))
        trainer.step(next(trainer.train.shuffled(16)), beta=1.0)
    assert types == [torch.float32, torch.bfloat16]


# Stage 2


def explainer_config(**settings) -> ExplainerConfig:
    return ExplainerConfig(**TINY["explainer"] | settings)


def from_scratch(config: ExplainerConfig):
    return build.from_scratch(["a fine film", "a dull plot"] * 20, config, 3, random_vectors())


def test_router_settings_reach_the_model_and_its_gates():
    model, _ = from_scratch(explainer_config(router_jitter=0.25, balance_weight=0.5, z_weight=0.125))
    assert (model.config.balance_weight, model.config.z_weight) == (0.5, 0.125)
    assert all(layer.mlp.gate.jitter == 0.25 for layer in model.lm.model.layers)


def test_router_losses_count_with_their_weights():
    ids = torch.arange(12).view(2, 6) + 10
    batch = {"input_ids": ids, "labels": ids, "user_ids": ids[:, 0] % 9, "item_ids": ids[:, 0] % 7}
    batch["cluster_ids"] = torch.tensor([0, 1])
    losses = {}
    for balance_weight, z_weight in ((0.0, 0.0), (1.0, 0.0), (2.0, 0.0), (0.0, 1.0), (0.0, 2.0)):
        torch.manual_seed(0)
        model, _ = from_scratch(explainer_config(balance_weight=balance_weight, z_weight=z_weight, dropout=0.0))
        losses[balance_weight, z_weight] = model.train()(**batch).loss.item()
    base = losses[0.0, 0.0]
    assert losses[2.0, 0.0] - base == pytest.approx(2 * (losses[1.0, 0.0] - base), rel=1e-3)
    assert losses[0.0, 2.0] - base == pytest.approx(2 * (losses[0.0, 1.0] - base), rel=1e-3)
    assert min(losses[1.0, 0.0], losses[0.0, 1.0]) > base


@pytest.mark.parametrize(
    ("instructions", "precision", "width", "expected"),
    [
        ({"avx512_bf16": True}, "auto", 576, True),
        ({"amx_bf16": True}, "auto", 576, True),
        ({"avx512_bf16": True}, "auto", 192, False),
        ({"avx2": True}, "auto", 576, False),
        ({"avx2": True}, "bf16", 192, True),
        ({"avx512_bf16": True}, "fp32", 576, False),
    ],
)
def test_on_a_cpu_bf16_is_for_wide_models_where_there_are_instructions_for_it(
    instructions, precision, width, expected, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions, raising=False)
    assert use_bf16(precision, width) == expected


def test_weight_decay_and_warmup_reach_the_trainer(tmp_path):
    config = explainer_config(weight_decay=0.3, warmup_ratio=0.25).resolve_defaults(base=False)
    arguments = training_arguments(config, seed=0, checkpoints=tmp_path, steps=100)
    assert arguments.weight_decay == 0.3
    assert arguments.get_warmup_steps(100) == 25


def test_lora_rank_and_alpha_reach_the_factors(tmp_path):
    config = ExplainerConfig(lora_rank=3, lora_alpha=12.0, expert_rank=4).resolve_defaults(base=True)
    model, tokenizer = build.from_base(save_base(tmp_path), config, 2, random_vectors(5, 4, 4))
    tuned = add_lora(model, tokenizer, config)
    factors = [parameter for name, parameter in tuned.named_parameters() if "lora_A" in name]
    assert factors
    assert all(factor.shape[0] == 3 for factor in factors)
    assert tuned.peft_config["default"].lora_alpha == 12.0


@pytest.mark.parametrize(("rate", "expected"), [(0.0, 60), (1.0, 0)])
def test_rating_dropout_hides_the_rating_from_training_prompts(rate, expected):
    config = explainer_config(rating_dropout=rate, feature_dropout=1.0)
    tokenizer = from_scratch(config)[1]
    pairs = PairContext(np.ones(60, int), np.ones(60, int), np.zeros(60, int), [3] * 60, ["music"] * 60)
    rows = ExplanationDataset(pairs, ["fine"] * 60, PromptEncoder(tokenizer), config, seed=0, hide=True)
    rating = tokenizer.convert_tokens_to_ids("<|rating|>")
    assert sum(rating in rows[row]["input_ids"] for row in range(60)) == expected
