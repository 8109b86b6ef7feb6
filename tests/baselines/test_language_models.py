"""PEPLER and XRec: the content of their prompts, and which weights each phase trains."""

import dataclasses

import pytest
import torch
from helpers.systems import create
from transformers import LlamaConfig, LlamaForCausalLM

from gavamoe.baselines.language_model import LanguageModel
from gavamoe.baselines.pepler import PEPLER
from gavamoe.baselines.pepler_discrete import DiscretePEPLER
from gavamoe.baselines.trainer import train
from gavamoe.baselines.xrec import Adapter, XRec, attention_modules
from gavamoe.conditions import Condition
from gavamoe.errors import ConfigError


@pytest.fixture(scope="module")
def base(tmp_path_factory, data):
    """A base model on disk, as a user has one."""
    path = tmp_path_factory.mktemp("base") / "llama"
    tokenizer = data.corpus_vocabulary.tokenizer
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return str(path)


@pytest.fixture
def graph(data):
    return torch.randn(data.users + 1, 8), torch.randn(data.items + 1, 8)


def frozen_and_trained(model, data, phase, tmp_path):
    """Return the names of the parameters that one phase alone left unchanged, and of those it changed."""
    model.phases = tuple(p for p in model.phases if p.name == phase)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    train(model, data.corpus_vocabulary, 0, "test", tmp_path / "state")
    same = {name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])}
    return same, before.keys() - same


def test_pepler_tunes_the_prompt_first_and_then_prompt_and_lm(data, tmp_path):
    same, changed = frozen_and_trained(PEPLER(data, 16), data, "prompt", tmp_path / "a")
    assert {name.split(".")[0] for name in same} == {"language"}
    assert {name.split(".")[0] for name in changed} == {"user", "item", "rating"}
    same, _ = frozen_and_trained(PEPLER(data, 16), data, "prompt and language", tmp_path / "b")
    assert not same


def test_the_prompt_of_pepler_is_the_user_and_the_item_embedding(data, batch):
    model = PEPLER(data, 16).eval()
    prompt = model._prompt(batch)
    assert torch.equal(prompt[:, 0], model.user(batch.user_B))
    assert torch.equal(prompt[:, 1], model.item(batch.item_B))


def test_a_discrete_prompt_has_features_of_both_then_of_the_item_then_of_the_user(data):
    model = DiscretePEPLER(data, 16)
    model.user_features, model.item_features = {1: ["music", "story", "plot"]}, {2: ["acting", "story"]}
    assert model.prompt_words(1, 2) == ["story", "acting", "music", "plot"]
    assert model.prompt_words(0, 2) == ["acting", "story"]
    assert model.prompt_words(0, 0) == []


def test_left_padding_of_a_prompt_changes_no_logits(data, batch):
    model = DiscretePEPLER(data, 16).eval()
    together, _ = model.prefill(batch)
    for row in range(0, len(batch), 7):
        alone = type(batch)(*(getattr(batch, field.name)[row : row + 1] for field in dataclasses.fields(batch)))
        assert torch.allclose(model.prefill(alone)[0], together[row : row + 1], atol=1e-5)


def test_xrec_does_not_train_the_language_model(data, graph, tmp_path):
    same, changed = frozen_and_trained(XRec(data, 16, graph), data, "adapters", tmp_path)
    assert {name.split(".")[0] for name in same} == {"language"}
    assert {name.split(".")[0] for name in changed} == {"user", "item"}


def test_xrec_is_saved_with_its_graph_embeddings(data, tmp_path):
    pairs = data.valid.head(5)
    system, again = (create("xrec", 10**5) for _ in range(2))
    system.fit(data, 0, tmp_path)
    again.prepare = lambda data, seed: (
        (torch.zeros_like(system.model.users_NG), torch.zeros_like(system.model.items_NG)),
    )
    again.load(data, 0, tmp_path)
    assert torch.equal(again.model.users_NG, system.model.users_NG)
    assert again.predict(pairs, Condition()).texts == system.predict(pairs, Condition()).texts


def test_xrec_injects_the_pair_into_every_layer(data, graph, batch):
    model = XRec(data, 16, graph).eval()
    seen = []
    for attention in attention_modules(model.language.lm):
        attention.register_forward_pre_hook(
            lambda module, args, kwargs: seen.append(kwargs["hidden_states"].detach()), with_kwargs=True
        )
    model.prefill(batch)
    expected = torch.stack([model.user(model.users_NG[batch.user_B]), model.item(model.items_NG[batch.item_B])], dim=1)
    assert len(seen) == data.config.layers
    assert all(torch.allclose(x_BSH[:, list(model.positions)], expected) for x_BSH in seen)


def test_the_adapter_of_xrec_is_a_mixture_and_its_gate_has_no_noise_outside_training(data, graph):
    adapter = XRec(data, 16, graph).eval().user
    x = graph[0][:3]
    weights = adapter.gate(x).softmax(-1)
    by_hand = sum(
        weights[:, [e]] * ((x - adapter.shift[e]) @ adapter.experts[e]) for e in range(adapter.experts.shape[0])
    )
    assert torch.allclose(adapter(x), by_hand, atol=1e-5)
    assert torch.equal(adapter(x), adapter(x))


def test_the_adapter_of_xrec_has_the_scale_of_the_word_embeddings_and_weights_of_unit_scale(graph):
    """Weights of the embeddings' scale were changed by 8 % a step, and the loss around a base model diverged."""
    torch.manual_seed(0)
    small, large = (Adapter(graph[0].shape[1], 16, 0.0, scale).eval() for scale in (0.02, 1.0))
    small.load_state_dict(large.state_dict())
    assert torch.allclose(small(graph[0]), 0.02 * large(graph[0]))
    assert large.experts.std().item() == pytest.approx(graph[0].shape[1] ** -0.5, rel=0.1)


def test_systems_start_from_a_base_model_in_a_directory(base, dataset_path, data, tiny_config, tmp_path):
    config = tiny_config.explainer.model_copy(update={"epochs": 1})
    on_base = dataclasses.replace(data, config=config, base_model=base)
    pairs = data.valid.head(5)
    for name in ("pepler", "pepler-d", "xrec"):
        system = create(name, 10**9)
        system.fit(on_base, 0, tmp_path / name)
        assert system.model.language.hidden == 16
        assert "language" not in [phase.name for phase in system.model.phases]
        assert len(system.predict(pairs, Condition()).texts) == 5


def test_a_missing_base_model_is_a_one_line_error(data, tiny_config, tmp_path):
    missing = dataclasses.replace(data, base_model=str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="the base model"):
        LanguageModel(missing, 16)
