"""The explainer's language model as a citizen of transformers."""

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma2Config, LlamaConfig, PreTrainedTokenizerFast, Qwen3Config
from worlds import TINY

from gavamoe.config import ExplainerConfig
from gavamoe.errors import ConfigError
from gavamoe.explainer import build
from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.explainer.tokenizer import train_tokenizer

TEXTS = [
    f"a {adjective} film with a {noun}" for adjective in ("fine", "dull", "bold") for noun in ("heart", "hole", "plot")
] * 5
CONFIG = ExplainerConfig(**TINY["explainer"])


@pytest.fixture
def model() -> GavamoeForCausalLM:
    torch.manual_seed(0)
    return build.from_scratch(TEXTS, CONFIG, 3, (torch.randn(9, 4), torch.randn(7, 4)))[0].eval()


def sides(count: int) -> dict[str, torch.Tensor]:
    ids = torch.arange(count) % 6
    return {"user_ids": ids, "item_ids": ids, "cluster_ids": ids % 3}


def test_the_auto_class_loads_what_was_saved(model, tmp_path):
    model.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    ids = torch.randint(7, 60, (2, 6))
    with torch.no_grad():
        assert torch.equal(model(ids, **sides(2)).logits, loaded(ids, **sides(2)).logits)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
    ]


def test_the_pair_changes_the_text_only_through_its_marks(model):
    prompt = torch.tensor([[model.config.user_token_id, model.config.item_token_id, 9]])
    with torch.no_grad():
        one, other = (
            model(prompt, cluster_ids=torch.zeros(1, dtype=torch.long), user_ids=u, item_ids=u).logits
            for u in torch.tensor([[1], [2]])
        )
        unmarked = torch.tensor([[8, 9, 10]])
        same = [
            model(unmarked, cluster_ids=torch.zeros(1, dtype=torch.long), user_ids=u, item_ids=u).logits
            for u in torch.tensor([[1], [2]])
        ]
    assert not torch.equal(one, other)
    assert torch.equal(*same)


def test_beams_keep_gate_and_sequence_together(model):
    prompt = torch.tensor([[model.config.user_token_id, model.config.item_token_id, 9]]).expand(4, 3)
    options = {"num_beams": 3, "max_new_tokens": 6, "do_sample": False}
    together = model.generate(prompt, **sides(4), **options)
    for row in range(4):
        alone = model.generate(prompt[row : row + 1], **{k: v[row : row + 1] for k, v in sides(4).items()}, **options)
        ended = alone.shape[1]
        assert torch.equal(together[row, :ended], alone[0])


def test_the_cache_changes_nothing(model):
    prompt = torch.tensor([[model.config.user_token_id, model.config.item_token_id, 9]]).expand(3, 3)
    cached, fresh = (model.generate(prompt, **sides(3), max_new_tokens=8, use_cache=use) for use in (True, False))
    assert torch.equal(cached, fresh)


def test_gradient_checkpointing_gives_the_same_gate_gradients(model):
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    ids = torch.randint(7, 60, (4, 6))
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        model.zero_grad()
        model(ids, labels=ids, **sides(4)).loss.backward()
        gradients.append([p.grad.clone() for name, p in model.named_parameters() if "gate.weight" in name])
    for left, right in zip(*gradients, strict=True):
        assert left.abs().sum() > 0
        torch.testing.assert_close(left, right)


def test_the_loss_is_taken_on_explanation_and_end_token_only(model):
    ids = torch.randint(7, 60, (2, 6))
    labels = ids.clone()
    labels[:, :4] = -100
    logits = model(ids, **sides(2)).logits
    expected = torch.nn.functional.cross_entropy(logits[:, 3:5].flatten(0, 1), ids[:, 4:].flatten())
    torch.testing.assert_close(model(ids, labels=labels, **sides(2)).loss, expected)


def test_no_cluster_is_one_clear_line(model):
    with pytest.raises(ValueError, match="cluster_ids"):
        model(torch.ones(1, 3, dtype=torch.long))


@pytest.mark.parametrize("family", [LlamaConfig, Qwen3Config, Gemma2Config], ids=lambda family: family.model_type)
@pytest.mark.parametrize("initialisation", ["partition", "replicate"])
def test_a_base_checkpoint_becomes_an_explainer_and_survives_saving(family, initialisation, tmp_path):
    torch.manual_seed(0)
    tokenizer = train_tokenizer(TEXTS, 300)
    plain = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, eos_token="<|end|>")
    plain.save_pretrained(tmp_path / "base")
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    base = family(vocab_size=len(plain), num_key_value_heads=1, head_dim=8, eos_token_id=1, pad_token_id=0, **sizes)
    AutoModelForCausalLM.from_config(base).save_pretrained(tmp_path / "base")
    config = CONFIG.model_copy(update={"experts": 4, "top_k": 2, "initialisation": initialisation})
    model, extended = build.from_base(str(tmp_path / "base"), config, 3, (torch.randn(9, 4), torch.randn(7, 4)))
    model.eval().save_pretrained(tmp_path / "ours")
    loaded = GavamoeForCausalLM.from_pretrained(tmp_path / "ours").eval()
    prompt = extended("<|user|><|item|><|explain|>", return_tensors="pt")["input_ids"].expand(3, -1)
    for (name, saved), (_, read) in zip(model.state_dict().items(), loaded.state_dict().items(), strict=True):
        assert torch.equal(saved, read), name
    with torch.no_grad():
        torch.testing.assert_close(model(prompt, **sides(3)).logits, loaded(prompt, **sides(3)).logits)
    assert loaded.generate(prompt, **sides(3), max_new_tokens=4).shape[0] == 3


def test_a_base_model_that_is_not_there_is_one_clear_line(tmp_path):
    with pytest.raises(ConfigError, match="cannot load the base model"):
        build.from_base(str(tmp_path / "nothing"), CONFIG, 3, (torch.randn(3, 4), torch.randn(3, 4)))
