"""Stage 2 around a pretrained base model: what is kept of it, which bases work, and the errors for the others."""

import pytest
import torch
from helpers.checkpoints import FAMILIES, TEXTS, save_base
from helpers.soft_tokens import random_vectors
from helpers.weights import assert_same_weights
from helpers.worlds import TINY
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, Gemma2Config, GPT2Config, GPT2LMHeadModel

from gavamoe.config import ExplainerConfig
from gavamoe.errors import ConfigError
from gavamoe.explainer import build
from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.language.encoding import PromptEncoder
from gavamoe.language.prompt import PromptFields

PAIR_IDS = {
    "user_ids": torch.tensor([1, 2, 0]),
    "item_ids": torch.tensor([3, 0, 1]),
    "cluster_ids": torch.tensor([0, 1, 2]),
}


def config(**settings):
    return ExplainerConfig(**TINY["explainer"] | settings)


def vectors():
    return random_vectors()


@pytest.mark.parametrize("family", [*FAMILIES, Gemma2Config], ids=lambda family: family.model_type)
def test_by_default_an_untrained_explainer_has_the_logits_of_its_base(family, tmp_path):
    base = save_base(tmp_path, family)
    model, tokenizer = build.from_base(base, config(shared_experts=1), 3, vectors())
    texts = ["a fine film with a", "a dull film with a", "a bold film with a"]
    ids = tokenizer(texts, return_tensors="pt")["input_ids"]
    dense = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    with torch.no_grad():
        converted = model.eval()(ids, **PAIR_IDS).logits
        assert torch.equal(converted[..., : dense.config.vocab_size], dense(ids).logits)


@pytest.mark.parametrize("initialisation", ["adapter", "partition", "replicate", "random"])
@pytest.mark.parametrize(("layers", "shared"), [(None, 0), ([1], 8)])
def test_a_converted_checkpoint_survives_saving(initialisation, layers, shared, tmp_path):
    settings = config(initialisation=initialisation, moe_layers=layers, shared_experts=shared)
    model, tokenizer = build.from_base(save_base(tmp_path / "base"), settings, 3, vectors())
    model.eval().save_pretrained(tmp_path / "converted")
    loaded = GavamoeForCausalLM.from_pretrained(tmp_path / "converted").eval()
    assert_same_weights(model.state_dict(), loaded.state_dict())
    prompt = torch.tensor([PromptEncoder(tokenizer)(PromptFields(4))]).expand(3, -1)
    with torch.no_grad():
        # Up to rounding: kernels sum in another order if weights are elsewhere in memory.
        torch.testing.assert_close(model(prompt, **PAIR_IDS).logits, loaded(prompt, **PAIR_IDS).logits)
    assert loaded.generate(prompt, **PAIR_IDS, max_new_tokens=4).shape[0] == 3
    assert str(tmp_path) not in (tmp_path / "converted" / "config.json").read_text()


def test_shared_experts_are_part_of_a_partition_and_reproduce_the_dense_ffn(tmp_path):
    base = save_base(tmp_path)
    model, _ = build.from_base(base, config(initialisation="partition", shared_experts=8), 3, vectors())
    block, x = model.lm.model.layers[0].mlp, torch.randn(10, 16)
    every = torch.arange(8).expand(10, 8)
    dense = AutoModelForCausalLM.from_pretrained(base).model.layers[0].mlp
    torch.testing.assert_close(block.experts(x, every, torch.ones(10, 8)) + block.shared(x), dense(x))


def test_a_clustered_partition_differs_from_a_random_one(tmp_path):
    base = save_base(tmp_path)
    one, other = (
        build.from_base(base, config(initialisation="partition", partition=how), 3, vectors())[0]
        for how in ("random", "clustered")
    )
    assert not torch.equal(*(m.lm.model.layers[0].mlp.experts.down_proj for m in (one, other)))


def test_new_tokens_start_as_the_mean_and_spare_embedding_rows_are_kept(tmp_path):
    base = save_base(tmp_path, vocab_size=400)  # more rows than tokens, as in many checkpoints
    shifted = AutoModelForCausalLM.from_pretrained(base)
    shifted.get_input_embeddings().weight.data += 1  # so that a row of zeros is far from the mean
    shifted.save_pretrained(base)
    model, tokenizer = build.from_base(base, config(), 3, vectors())
    assert model.lm.config.vocab_size == 400
    known = AutoModelForCausalLM.from_pretrained(base).get_input_embeddings().weight[: model.config.user_token_id]
    row = model.get_input_embeddings().weight[tokenizer.convert_tokens_to_ids("<|rating|>")]
    torch.testing.assert_close(row, known[: len(known)].mean(0), rtol=0, atol=1e-5)


def test_a_chat_template_wraps_the_prompt(tmp_path):
    save_base(tmp_path, chat=True)
    _, tokenizer = build.from_base(str(tmp_path), config(), 3, vectors())
    text = tokenizer.decode(PromptEncoder(tokenizer)(PromptFields(4, "music")))
    assert text.replace(" ", "") == "[user]<|user|><|item|><|rating|>4<|feature|>music<|explain|>\n[answer]"
    tokenizer.chat_template = None
    assert tokenizer.decode(PromptEncoder(tokenizer)(PromptFields())).replace(" ", "") == "<|user|><|item|><|explain|>"


ZEPHYR = "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{{ eos_token }}\n{% endfor %}<|assistant|>\n"


@pytest.mark.parametrize("a_token", [False, True], ids=["in template", "token"])
def test_a_role_marker_of_the_base_is_kept_and_each_special_token_occurs_once(a_token, tmp_path):
    save_base(tmp_path)
    before = AutoTokenizer.from_pretrained(tmp_path)
    before.chat_template = ZEPHYR
    if a_token:
        before.add_tokens("<|user|>")
    before.save_pretrained(tmp_path)
    model, tokenizer = build.from_base(str(tmp_path), config(), 3, vectors())
    for each in (tokenizer, reloaded(tokenizer, tmp_path / "converted")):
        prompt = PromptEncoder(each)(PromptFields(4, "music"))
        role = before("<|user|>", add_special_tokens=False)["input_ids"]
        assert prompt[: len(role)] == role
        for token in (model.config.user_token_id, model.config.item_token_id, model.config.text_token_id):
            assert prompt.count(token) == 1
        assert model.config.user_token_id not in role
        names = each.convert_ids_to_tokens([model.config.user_token_id, model.config.item_token_id])
        assert names == ["<|gavamoe-user|>", "<|item|>"]


def test_special_tokens_keep_their_names_if_the_base_uses_none_of_them(tmp_path):
    for chat in (False, True):
        model, tokenizer = build.from_base(save_base(tmp_path, chat=chat), config(), 3, vectors())
        assert tokenizer.convert_ids_to_tokens(model.config.user_token_id) == "<|user|>"
        assert not [name for name in tokenizer.get_vocab() if "gavamoe" in name]


def reloaded(tokenizer, path):
    tokenizer.save_pretrained(path)
    return AutoTokenizer.from_pretrained(path)


def test_a_beginning_of_text_token_starts_the_prompt_once(tmp_path):
    from tokenizers.processors import TemplateProcessing

    save_base(tmp_path)
    _, tokenizer = build.from_base(str(tmp_path), config(), 3, vectors())
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    begin = tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", begin)])
    assert PromptEncoder(tokenizer)(PromptFields())[0] == begin
    assert PromptEncoder(tokenizer)(PromptFields()).count(begin) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"initialisation": "partition", "granularity": 3, "expert_width": 48, "expert_rank": 33}, "12 experts cannot"),
        ({"initialisation": "replicate", "granularity": 3, "expert_width": 48, "expert_rank": 33}, "does not divide"),
        ({"moe_layers": [0, 7]}, "choose among 0 to"),
        ({"save": "adapter", "tuning": "full"}, r"explainer.save=adapter keeps what LoRA trained"),
        ({"save": "adapter", "initialisation": "partition", "partition": "clustered"}, "no clustered partition"),
        ({"load_in_4bit": True}, "load_in_4bit needs initialisation=adapter and save=adapter"),
        ({"load_in_4bit": True, "save": "adapter"}, "needs a CUDA GPU and the package bitsandbytes"),
        ({"initialisation": "replicate", "lora_dropout": 0.1}, "lora_dropout must be 0 with low-rank experts"),
    ],
)
def test_an_impossible_setting_is_a_one_line_error_before_training(settings, message, tmp_path):
    base = save_base(tmp_path)
    for attempt in (
        lambda: build.check_base(base, config(**settings), 3),
        lambda: build.from_base(base, config(**settings), 3, vectors()),
    ):
        with pytest.raises(ConfigError, match=message) as refused:
            attempt()
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("initialisation", "width", "scale"),
    [("adapter", 12, 1), ("partition", 8, 4), ("replicate", 8, 4), ("random", 12, 1)],
)
def test_blocks_have_the_refined_sizes_of_the_settings(initialisation, width, scale, tmp_path):
    sizes = {"experts": 1, "top_k": 1, "granularity": 4, "expert_rank": 48, "expert_width": 48}
    settings = config(initialisation=initialisation, **sizes)
    model, _ = build.from_base(save_base(tmp_path), settings, 3, vectors())
    shape = model.lm.model.layers[0].mlp.shape
    assert (shape.experts, shape.top_k, shape.width, shape.scale) == (4, 4, width, scale)


@pytest.mark.parametrize("initialisation", ["adapter", "partition", "replicate", "random"])
def test_a_possible_setting_is_checked_without_weights(initialisation, tmp_path):
    save_base(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    build.check_base(str(tmp_path), config(initialisation=initialisation, partition="clustered"), 3)


@pytest.mark.parametrize("settings", [{"initialisation": "adapter"}, {"tuning": "lora"}])
def test_settings_that_need_a_base_model_are_refused_without_one(settings):
    with pytest.raises(ConfigError, match="--base-model; name one"):
        build.from_scratch(TEXTS, config(**settings), 3, vectors())


def test_heads_of_odd_width_are_a_one_line_error_with_the_numbers():
    impossible = config(hidden=100, heads=4)
    for attempt in (
        lambda: impossible.resolve_defaults(base=False),
        lambda: build.from_scratch(TEXTS, impossible, 3, vectors()),
    ):
        with pytest.raises(ConfigError, match=r"hidden=100 gives each of 4 heads 25 dimensions.* multiple of 8"):
            attempt()
    assert impossible.resolve_defaults(base=True).hidden == 100  # a base does not read it


def test_a_base_without_a_gated_mlp_is_refused_before_training(tmp_path):
    GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=16, n_head=2, vocab_size=20)).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"GPT2LMHeadModel\) has no gated MLP"):
        build.check_base(str(tmp_path), config(), 3)


class _Response:
    headers, request, status_code = {}, None, 401


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        (
            GatedRepoError("gated", response=_Response()),
            "is gated: ask for access at https://huggingface.co/some/model",
        ),
        (LocalEntryNotFoundError("offline"), "is not a local directory, and the Hugging Face hub cannot be reached"),
        (None, "cannot load the base model 'some/model': what transformers says - give a local directory"),
    ],
)
def test_a_base_model_that_cannot_be_loaded_is_a_one_line_error_with_what_to_do(cause, message, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("what transformers says\nand more") from cause

    monkeypatch.setattr(AutoConfig, "from_pretrained", refuse)
    with pytest.raises(ConfigError, match=message) as refused:
        build.check_base("some/model", config(), 3)
    assert "\n" not in str(refused.value)


def test_a_missing_directory_is_a_one_line_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot load the base model"):
        build.check_base(str(tmp_path / "nothing"), config(), 3)
