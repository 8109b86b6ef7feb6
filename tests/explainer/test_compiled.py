"""Compiled layers: the losses and gradients of plain ones, one compilation for all layers and lengths."""

import pytest
import torch
from helpers.checkpoints import save_base
from helpers.soft_tokens import random_vectors
from helpers.worlds import TINY
from torch._dynamo.utils import counters

from gavamoe.config import ExplainerConfig
from gavamoe.explainer import build, compiled
from gavamoe.explainer.compiled import compiled_layers, should_compile
from gavamoe.explainer.lora import add_lora
from gavamoe.moe.experts import FineGrainedExperts

BATCHES = [(3, 7), (3, 9), (2, 12)]


@pytest.fixture
def tuned(tmp_path):
    """Return a model of two layers with LoRA, with the experts' kernel of a GPU."""
    torch.manual_seed(0)
    config = ExplainerConfig(**TINY["explainer"] | {"dropout": 0.0, "expert_rank": 8, "lora_targets": "all"})
    config = config.resolve_defaults(base=True)
    save_base(tmp_path / "base")
    model, tokenizer = build.from_base(str(tmp_path / "base"), config, 3, random_vectors())
    tuned = add_lora(model, tokenizer, config)
    for name, parameter in tuned.named_parameters():
        if parameter.requires_grad and ("lora_B" in name or "down_proj" in name):
            torch.nn.init.normal_(parameter, std=0.1)  # new parts that add nothing would hide an error
    for module in tuned.modules():
        if isinstance(module, FineGrainedExperts):
            module.config._experts_implementation = "grouped_mm"
    return tuned.train()


def batch_of(rows, length):
    ids = torch.randint(20, 60, (rows, length), generator=torch.Generator().manual_seed(length))
    mask = torch.ones_like(ids)
    mask[0, :2] = 0
    pairs = {name: torch.arange(rows) for name in ("user_ids", "item_ids", "cluster_ids")}
    return {"input_ids": ids, "attention_mask": mask, "labels": ids, **pairs}


def losses_and_gradients(model):
    found = []
    for shape in BATCHES:
        model.zero_grad()
        loss = model(**batch_of(*shape)).loss
        loss.backward()
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        found.append((loss.detach(), gradients))
    return found


@pytest.mark.slow
def test_compiled_layers_have_the_losses_and_gradients_of_plain_ones_and_are_compiled_once(tuned):
    expected = losses_and_gradients(tuned)
    torch._dynamo.reset()
    counters.clear()
    for _ in range(2):  # entered again, nothing is compiled again
        with compiled_layers(tuned):
            found = losses_and_gradients(tuned)
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]
    for (loss, gradients), (other, others) in zip(expected, found, strict=True):
        assert torch.isclose(loss, other, rtol=1e-5)
        for gradient, same in zip(gradients, others, strict=True):
            torch.testing.assert_close(same, gradient, rtol=1e-3, atol=1e-5)


def test_the_layers_are_plain_again_after_the_block_and_in_evaluation(tuned):
    torch._dynamo.reset()
    counters.clear()
    with compiled_layers(tuned), torch.no_grad():
        tuned.eval()(**batch_of(3, 7))
    tuned.train()(**batch_of(3, 7))
    assert not counters["frames"]


def test_layers_are_compiled_on_one_gpu_for_long_trainings(monkeypatch):
    config = ExplainerConfig()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not should_compile(config, compiled.MIN_STEPS)
    assert should_compile(config.model_copy(update={"compile": True}), 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert should_compile(config, compiled.MIN_STEPS)
    with monkeypatch.context() as without_compiler:
        without_compiler.setattr(compiled.shutil, "which", lambda name: None)
        assert not should_compile(config, compiled.MIN_STEPS)
    assert not should_compile(config, compiled.MIN_STEPS - 1)
    assert not should_compile(config.model_copy(update={"compile": False}), compiled.MIN_STEPS)
    assert not should_compile(config.model_copy(update={"load_in_4bit": True}), compiled.MIN_STEPS)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not should_compile(config, compiled.MIN_STEPS)
