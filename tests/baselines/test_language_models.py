"""What makes PEPLER and XRec: what their prompts are, and which weights may move."""

import dataclasses

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from gavamoe.baselines.data import TextData
from gavamoe.baselines.language_model import LanguageModel
from gavamoe.baselines.pepler import PEPLER
from gavamoe.baselines.pepler_discrete import DiscretePEPLER
from gavamoe.baselines.registry import TEXT_SYSTEMS
from gavamoe.baselines.trainer import train
from gavamoe.baselines.xrec import XRec, attentions
from gavamoe.conditions import Condition
from gavamoe.errors import ConfigError


@pytest.fixture(scope="module")
def base(tmp_path_factory, data):
    """A checkpoint on disk, as a person would bring one."""
    path = tmp_path_factory.mktemp("base") / "llama"
    tokenizer = data.own.tokenizer
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


def frozen_and_learned(model, data, phase, tmp_path):
    """Names of the parameters that one phase alone left as they were, and of those it moved."""
    model.phases = tuple(p for p in model.phases if p.name == phase)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    train(model, data.own, 0, "test", tmp_path / "state")
    same = {name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])}
    return same, before.keys() - same


def test_pepler_tunes_the_prompt_first_and_then_both(data, tmp_path):
    same, moved = frozen_and_learned(PEPLER(data, 16), data, "prompt", tmp_path / "a")
    assert {name.split(".")[0] for name in same} == {"language"}
    assert {name.split(".")[0] for name in moved} == {"user", "item", "rating"}
    same, _ = frozen_and_learned(PEPLER(data, 16), data, "prompt and language", tmp_path / "b")
    assert not same


def test_peplers_prompt_is_the_two_vectors(data, batch):
    model = PEPLER(data, 16).eval()
    prompt = model._prompt(batch)
    assert torch.equal(prompt[:, 0], model.user(batch.user_B))
    assert torch.equal(prompt[:, 1], model.item(batch.item_B))


def test_discrete_prompts_are_features_of_both_then_of_the_item_then_of_the_user(data):
    model = DiscretePEPLER(data, 16)
    model.user_features, model.item_features = {1: ["music", "story", "plot"]}, {2: ["acting", "story"]}
    assert model.prompt_words(1, 2) == ["story", "acting", "music", "plot"]
    assert model.prompt_words(0, 2) == ["acting", "story"]
    assert model.prompt_words(0, 0) == []


def test_padding_before_a_prompt_changes_no_logits(data, batch):
    model = DiscretePEPLER(data, 16).eval()
    together, _ = model.begin(batch)
    for row in range(0, len(batch), 7):
        alone = type(batch)(*(getattr(batch, field.name)[row : row + 1] for field in dataclasses.fields(batch)))
        assert torch.allclose(model.begin(alone)[0], together[row : row + 1], atol=1e-5)


def test_xrec_leaves_the_language_model_as_it_is(data, graph, tmp_path):
    same, moved = frozen_and_learned(XRec(data, 16, graph), data, "adapters", tmp_path)
    assert {name.split(".")[0] for name in same} == {"language"}
    assert {name.split(".")[0] for name in moved} == {"user", "item"}


def test_xrec_is_saved_with_the_graph_vectors_that_its_adapters_fit(data, tmp_path):
    pairs = data.dataset.interactions("valid").head(5)
    system, again = (TEXT_SYSTEMS["xrec"](10**5) for _ in range(2))
    system.fit(data, 0, tmp_path)
    again.prepare = lambda data, seed: (
        (torch.zeros_like(system.model.users_NG), torch.zeros_like(system.model.items_NG)),
    )
    again.load(data, 0, tmp_path)
    assert torch.equal(again.model.users_NG, system.model.users_NG)
    assert again.predict(pairs, Condition()).texts == system.predict(pairs, Condition()).texts


def test_xrec_tells_every_layer_of_the_pair(data, graph, batch):
    model = XRec(data, 16, graph).eval()
    seen = []
    for attention in attentions(model.language.lm):
        attention.register_forward_pre_hook(
            lambda module, args, kwargs: seen.append(kwargs["hidden_states"].detach()), with_kwargs=True
        )
    model.begin(batch)
    expected = torch.stack([model.user(model.users_NG[batch.user_B]), model.item(model.items_NG[batch.item_B])], dim=1)
    assert len(seen) == data.config.layers
    assert all(torch.allclose(x_BSH[:, list(model.places)], expected) for x_BSH in seen)


def test_xrecs_adapter_is_a_mixture_and_its_gate_is_quiet_outside_training(data, graph):
    adapter = XRec(data, 16, graph).eval().user
    x = graph[0][:3]
    weights = adapter.gate(x).softmax(-1)
    by_hand = sum(
        weights[:, [e]] * ((x - adapter.shift[e]) @ adapter.experts[e]) for e in range(adapter.experts.shape[0])
    )
    assert torch.allclose(adapter(x), by_hand, atol=1e-5)
    assert torch.equal(adapter(x), adapter(x))


def test_they_run_on_a_base_model_from_a_directory(base, dataset_path, data, tiny_config, tmp_path):
    config = tiny_config.explainer.model_copy(update={"epochs": 1})
    on_base = TextData(data.dataset, config, base)
    pairs = data.dataset.interactions("valid").head(5)
    for name in ("pepler", "pepler-d", "xrec"):
        system = TEXT_SYSTEMS[name](10**9)
        system.fit(on_base, 0, tmp_path / name)
        assert system.model.language.hidden == 16
        assert "language" not in [phase.name for phase in system.model.phases]
        assert len(system.predict(pairs, Condition()).texts) == 5


def test_a_base_model_that_is_not_there_is_one_line(data, tiny_config, tmp_path):
    missing = TextData(data.dataset, tiny_config.explainer, str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="the base model"):
        LanguageModel(missing, 16)
