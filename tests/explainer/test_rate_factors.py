"""Learning rates of stage 2's parts: every weight keeps one group, gates and vectors have rates of their own."""

import copy

import pytest
import torch
from helpers.worlds import TINY
from hypothesis import given
from hypothesis import strategies as st

from gavamoe.config import ExplainerConfig
from gavamoe.explainer.build import EXPERT_WEIGHT, from_scratch
from gavamoe.explainer.rate_factors import set_rate_factors
from gavamoe.explainer.soft_tokens import SoftTokenVectors
from gavamoe.explainer.trainer import _Trainer, training_arguments

RATE, DECAY = 1e-2, 0.05
FACTORS = st.floats(1e-3, 10)


@pytest.fixture(scope="module")
def model():
    config = ExplainerConfig(**TINY["explainer"], shared_experts=1)
    vectors = SoftTokenVectors(torch.randn(4, 8), torch.randn(5, 8))
    return from_scratch(["a plain text", "another text"], config, 3, vectors)[0]


def optimizer_of(model):
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": decayed, "weight_decay": DECAY}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=RATE)


def group_of(optimizer):
    return {id(p): group for group in optimizer.param_groups for p in group["params"]}


def factor_of(name, gates, vectors):
    return gates if ".gate.weight_CEH" in name else vectors if ".vectors." in name else 1


@given(gates=FACTORS, vectors=FACTORS)
def test_gates_and_vectors_have_their_rates_and_all_other_weights_keep_theirs(model, gates, vectors):
    optimizer = optimizer_of(model)
    before = group_of(optimizer)
    before = {key: (group["lr"], group["weight_decay"]) for key, group in before.items()}
    set_rate_factors(optimizer, model, gates, vectors)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(before)
    after = group_of(optimizer)
    for name, parameter in model.named_parameters():
        rate, decay = before[id(parameter)]
        factor = factor_of(name, gates, vectors)
        assert after[id(parameter)]["lr"] == pytest.approx(factor * rate)
        assert after[id(parameter)]["weight_decay"] == pytest.approx(decay / factor)


def test_a_step_moves_gates_and_vectors_by_their_factor_times_what_it_moves_them_otherwise(model):
    def moved(gates, vectors):
        trained = copy.deepcopy(model)
        optimizer = optimizer_of(trained)
        set_rate_factors(optimizer, trained, gates, vectors)
        for parameter in trained.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        kept = zip(trained.named_parameters(), model.parameters(), strict=True)
        # The decay shrinks by the same share at any rate, so it is added back.
        return {name: old * (1 - RATE * DECAY * (old.ndim > 1)) - new for (name, new), old in kept}

    plain, changed = moved(1, 1), moved(0.1, 5)
    for name, change in changed.items():
        assert torch.allclose(change, factor_of(name, 0.1, 5) * plain[name], rtol=1e-2, atol=1e-6), name


def test_stage_2_is_trained_at_these_rates(model, tmp_path):
    config = ExplainerConfig(**TINY["explainer"], warmup_ratio=0).resolve_defaults(base=False)
    arguments = training_arguments(config, 0, tmp_path, steps=4)
    rows = [{}]  # are not read
    trainer = _Trainer(gate_rate_factor=0.1, vector_rate_factor=5, model=model, args=arguments, eval_dataset=rows)
    trainer.create_optimizer_and_scheduler(num_training_steps=4)
    rates = {id(p): group["lr"] for group in trainer.optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert rates[id(parameter)] == pytest.approx(factor_of(name, 0.1, 5) * config.learning_rate), name


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_each_expert_from_scratch_has_the_same_mean_weight_however_many_are_selected(top_k):
    settings = ExplainerConfig(**TINY["explainer"] | {"top_k": top_k})
    vectors = SoftTokenVectors(torch.randn(4, 8), torch.randn(5, 8))
    config = from_scratch(["a plain text"], settings, 3, vectors)[0].config
    assert config.shared_experts == config.experts_per_token == 2 * top_k
    assert config.routing_scale / config.experts_per_token == config.shared_scale == EXPERT_WEIGHT


@pytest.mark.parametrize(("base", "gates", "vectors"), [(False, 0.1, 5), (True, 1, 1)])
def test_the_factors_depend_on_whether_there_is_a_base(base, gates, vectors):
    config = ExplainerConfig().resolve_defaults(base=base)
    assert (config.gate_rate_factor, config.vector_rate_factor) == (gates, vectors)
    own = ExplainerConfig(gate_rate_factor=0.5, vector_rate_factor=2).resolve_defaults(base=base)
    assert (own.gate_rate_factor, own.vector_rate_factor) == (0.5, 2)
