"""LoRA: which parameters are trained, exact gradients and merging, and adapters that are loaded on their base."""

import shutil

import pytest
import torch
from helpers.checkpoints import save_base
from helpers.soft_tokens import random_vectors
from helpers.worlds import TINY
from peft import PeftModel
from transformers import Gemma3Config, GemmaConfig, LlamaConfig

from gavamoe.config import ExplainerConfig
from gavamoe.errors import RunError
from gavamoe.explainer import build, lora
from gavamoe.explainer.lora import add_lora, load_adapter, load_model, merge_lora, save_adapter
from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.explainer.soft_tokens import SoftTokenVectors


def tuned_model(base, vectors=None, **settings):
    """Return a model with LoRA after three steps, and a batch."""
    torch.manual_seed(0)
    config = ExplainerConfig(**TINY["explainer"] | {"dropout": 0.0, "expert_rank": 8} | settings).resolve_defaults(
        base=True
    )
    model, tokenizer = build.from_base(base, config, 3, vectors or random_vectors())
    tuned = add_lora(model, tokenizer, config)
    ids = torch.randint(20, 60, (3, 6))
    ids[:, :3] = torch.tensor(tokenizer.convert_tokens_to_ids(["<|user|>", "<|item|>", "<|explain|>"]))
    pair_ids = {name: torch.tensor([0, 1, 2]) for name in ("user_ids", "item_ids", "cluster_ids")}
    batch = {"input_ids": ids, "labels": ids, **pair_ids}
    optimizer = torch.optim.SGD([p for p in tuned.parameters() if p.requires_grad], lr=0.3)
    for _ in range(3):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bf16"):
            loss = tuned.train()(**batch).loss
        loss.backward()
        optimizer.step()
    return tuned.eval(), batch


@torch.no_grad()
def logits(model, batch):
    return model.eval()(**batch).logits


KINDS = [
    {"initialisation": "adapter", "shared_experts": 2},
    {"initialisation": "partition"},
    {"initialisation": "partition", "partition": "clustered", "lora_experts": False},
    {"initialisation": "replicate", "granularity": 2},
    {"initialisation": "random", "moe_layers": [1]},
    {"initialisation": "adapter", "lora_targets": "all", "shared_experts": 2},
    {"initialisation": "partition", "lora_targets": "all", "moe_layers": [1]},
]
kinds = pytest.mark.parametrize("settings", KINDS, ids=lambda s: "-".join(map(str, s.values())))


@kinds
@pytest.mark.parametrize("tied", [True, False])
def test_the_merged_model_computes_what_the_trained_one_does(settings, tied, tmp_path):
    tuned, batch = tuned_model(save_base(tmp_path, tie_word_embeddings=tied), **settings)
    expected = logits(tuned, batch)
    plain = merge_lora(tuned)
    assert type(plain) is GavamoeForCausalLM
    assert not [name for name in plain.state_dict() if "lora" in name]
    torch.testing.assert_close(logits(plain, batch), expected, rtol=1e-3, atol=1e-4)
    plain.save_pretrained(tmp_path / "merged")
    torch.testing.assert_close(logits(load_model(tmp_path / "merged"), batch), expected, rtol=1e-3, atol=1e-4)


def test_users_that_share_rows_do_so_in_the_adapter_and_in_the_merged_model(tmp_path):
    row_N = torch.tensor([0, 1, 2, 1], dtype=torch.int32)
    vectors = SoftTokenVectors(torch.randn(3, 4), torch.randn(7, 4), row_N)
    tuned, batch = tuned_model(save_base(tmp_path / "base"), vectors)
    batch["user_ids"] = torch.tensor([1, 2, 3])
    expected = logits(tuned, batch)
    save_adapter(tuned, str(tmp_path / "base"), tmp_path / "adapter")
    merge_lora(tuned).save_pretrained(tmp_path / "merged")
    for saved in ("adapter", "merged"):
        model = load_model(tmp_path / saved)
        assert torch.equal(model.user_token.vectors.row_N, row_N)
        assert model.user_token.vectors.weight.shape == (3, 4)
        torch.testing.assert_close(logits(model, batch), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("family", [LlamaConfig, GemmaConfig], ids=lambda family: family.model_type)
@pytest.mark.parametrize("initialisation", ["adapter", "partition", "replicate", "random"])
def test_an_adapter_computes_the_same_on_a_base_that_was_moved(family, initialisation, tmp_path):
    base = save_base(tmp_path / "base", family)
    tuned, batch = tuned_model(base, initialisation=initialisation, save="adapter")
    expected = logits(tuned, batch)
    save_adapter(tuned, base, tmp_path / "adapter")
    shutil.move(base, tmp_path / "elsewhere")
    with pytest.raises(RunError, match=r"is not at .* any more; write its new location"):
        load_model(tmp_path / "adapter")
    loaded = load_adapter(tmp_path / "adapter", str(tmp_path / "elsewhere"))
    torch.testing.assert_close(logits(loaded, batch), expected, rtol=1e-3, atol=1e-4)


def trainable(tuned: PeftModel) -> set[str]:
    """Return the kinds of parameters that are trained."""
    names = [name for name, p in tuned.named_parameters() if p.requires_grad]
    kinds = ("self_attn", "experts", "gate", "shared", "user_token", "item_token", "token_adapter", "dense")
    found = {next((kind for kind in kinds if f"{kind}." in name), name) for name in names}
    return found | ({"low-rank experts"} if any("experts" in n and "lora" in n for n in names) else set())


def test_the_kinds_of_parameters_that_are_trained(tmp_path):
    always = {"self_attn", "gate", "user_token", "item_token", "token_adapter", "experts"}
    base = save_base(tmp_path)
    assert trainable(tuned_model(base, shared_experts=1)[0]) == always | {"shared"}
    assert trainable(tuned_model(base, initialisation="partition")[0]) == always | {"low-rank experts"}
    assert trainable(tuned_model(base, initialisation="partition", lora_experts=False)[0]) == always


@kinds
def test_trained_parameters_get_gradients_and_the_base_gets_none(settings, tmp_path):
    tuned, batch = tuned_model(save_base(tmp_path), **settings)
    tuned.zero_grad()
    tuned.train()(**batch).loss.backward()
    for name, parameter in tuned.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


@kinds
def test_gradient_checkpointing_changes_no_gradient(settings, tmp_path):
    tuned, batch = tuned_model(save_base(tmp_path), **settings)
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            tuned.get_base_model().activation_checkpointing_enable({"use_reentrant": False})
        tuned.zero_grad()
        tuned.train()(**batch).loss.backward()
        gradients.append({name: p.grad.clone() for name, p in tuned.named_parameters() if p.requires_grad})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


def test_a_frozen_base_can_be_held_in_bf16(tmp_path):
    base = save_base(tmp_path)
    tuned, batch = tuned_model(base, precision="bf16")
    model = tuned.get_base_model()
    assert model.lm.model.layers[0].mlp.dense.gate_proj.weight.dtype == torch.bfloat16
    assert all(p.dtype == torch.float32 for p in tuned.parameters() if p.requires_grad)
    with torch.autocast("cpu", torch.bfloat16):
        expected = logits(tuned, batch)
    plain = merge_lora(tuned)
    assert {p.dtype for p in plain.parameters()} == {torch.bfloat16}
    assert (logits(plain, batch).float() - expected.float()).abs().mean() < 0.05 * expected.float().abs().mean()


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_a_saved_adapter_is_loaded_in_the_precision_its_base_had_in_training(precision, tmp_path, monkeypatch):
    base = save_base(tmp_path / "base")
    tuned, batch = tuned_model(base, precision=precision, save="adapter")
    save_adapter(tuned, base, tmp_path / "adapter")
    read, load_base = [], lora.load_base
    monkeypatch.setattr(lora, "load_base", lambda *args: read.append(load_base(*args)) or read[0])
    loaded = load_adapter(tmp_path / "adapter")
    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]
    assert read[0].lm_head.weight.dtype == dtype
    assert {p.dtype for p in loaded.parameters()} == {dtype}
    assert torch.equal(logits(loaded, batch), logits(merge_lora(tuned), batch))


def multimodal(**text) -> Gemma3Config:
    """Return the configuration of a tiny vision-language model."""
    kinds = {"layer_types": ["full_attention"] * text["num_hidden_layers"]}
    vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    end = text["eos_token_id"]
    return Gemma3Config(
        text_config={**text, **kinds, "pad_token_id": 0},
        vision_config={**vision, "image_size": 28, "patch_size": 14},
        mm_tokens_per_image=4,
        eos_token_id=end,
    )


def test_only_the_text_decoder_of_a_multimodal_base_is_trained(tmp_path):
    tuned, batch = tuned_model(save_base(tmp_path, multimodal))
    names = [name for name, p in tuned.named_parameters() if p.requires_grad and "lora" in name]
    assert names
    assert not [name for name in names if "vision" in name]
    expected = logits(tuned, batch)
    torch.testing.assert_close(logits(merge_lora(tuned), batch), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("targets", "layers"),
    [("attention", {"q", "k", "v", "o"}), ("all", {"q", "k", "v", "o", "gate", "up", "down"})],
)
def test_low_rank_factors_are_where_the_setting_says(targets, layers, tmp_path):
    tuned, _ = tuned_model(save_base(tmp_path), lora_targets=targets, moe_layers=[1])
    with_factors = [name.split(".lora_A")[0] for name, _ in tuned.named_parameters() if ".lora_A." in name]
    assert {name.rpartition(".")[2] for name in with_factors} == {f"{layer}_proj" for layer in layers}
    assert len(with_factors) == 2 * len(layers)  # the FFN beside the experts of layer 1, and that of layer 0
