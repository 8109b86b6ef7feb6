"""Faults of the published code, one test each: none may come back."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from helpers.weights import assert_same_weights
from helpers.worlds import TINY

from gavamoe.conditions import Condition
from gavamoe.config import ExplainerConfig, PreferenceConfig, parse_config
from gavamoe.data.dataset import InteractionArrays, ReviewDataset
from gavamoe.explainer import build
from gavamoe.explainer.soft_tokens import SoftTokenVectors
from gavamoe.explainer.trainer import training_arguments
from gavamoe.language.encoding import PromptEncoder
from gavamoe.language.prompt import EXPLAIN, ITEM, USER, PromptFields
from gavamoe.moe.block import MoEShape, MultiGateMoE, RoutingState
from gavamoe.moe.experts import ExpertsConfig, FineGrainedExperts
from gavamoe.pipeline.eval_set import EvalSet
from gavamoe.pipeline.evaluation import evaluate
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.prior import MixturePrior
from gavamoe.preference.trainer import fit_preference

SOURCE = Path(__file__).parents[1] / "src" / "gavamoe"


@pytest.fixture
def preference() -> PreferenceModel:
    torch.manual_seed(0)
    return PreferenceModel(users=30, items=20, levels=5, clusters=4, latent=8)


def test_the_latent_of_a_pair_does_not_depend_on_the_rest_of_the_batch(preference):
    user, item = torch.randint(0, 31, (64,)), torch.randint(0, 21, (64,))
    together = preference.latent(user, item)
    alone = torch.cat([preference.latent(user[i : i + 1], item[i : i + 1]) for i in range(64)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)
    order = torch.randperm(64)
    torch.testing.assert_close(preference.latent(user[order], item[order]), together[order], rtol=0, atol=1e-6)


def test_responsibilities_do_not_underflow_at_128_dimensions():
    torch.manual_seed(0)
    prior = MixturePrior(clusters=5, latent=128)
    gamma = prior.log_responsibilities(100 * torch.randn(32, 128)).exp()
    assert torch.isfinite(gamma).all()
    torch.testing.assert_close(gamma.sum(-1), torch.ones(32))


def test_mixture_weights_stay_on_the_simplex_through_training(preference):
    optimizer = torch.optim.SGD(preference.prior.parameters(), lr=10.0)
    for _ in range(5):
        optimizer.zero_grad()
        (-preference.prior.log_joint(torch.randn(16, 8)).logsumexp(-1).mean()).backward()
        optimizer.step()
        weight = preference.prior.log_weight_K.exp()
        assert (weight >= 0).all()
        torch.testing.assert_close(weight.sum(), torch.tensor(1.0))


def test_the_cluster_weighs_log_pi_and_not_pi_against_the_log_density(preference):
    prior = MixturePrior(clusters=2, latent=1)
    with torch.no_grad():
        prior.mean_KD.copy_(torch.tensor([[0.0], [1.0]]))
        prior.logits_K.copy_(torch.tensor([4.0, 0.0]))  # pi = .98, .02
    z = torch.tensor([[2.0]])
    # log pi + log density prefers the heavy component by 2.5 nats; pi + log density would prefer the near one.
    assert prior.log_responsibilities(z).argmax() == 0
    density = -0.5 * (z - prior.mean_KD.T).square()
    assert (prior.log_weight_K.exp() + density).argmax() == 1


def test_the_cluster_of_a_pair_is_not_sampled_and_ignores_dropout(preference):
    preference.train()
    user, item = torch.arange(1, 21), torch.arange(1, 21)
    first = preference.responsibilities(user, item)
    torch.manual_seed(99)
    preference.train()
    assert torch.equal(first, preference.responsibilities(user, item))


def test_the_gate_follows_the_sequence_and_not_a_call_counter(explainer):
    model = explainer.model
    ids = torch.randint(7, 50, (6, 5))
    sides = {"user_ids": torch.arange(1, 7), "item_ids": torch.arange(1, 7)}
    cluster = torch.tensor([0, 1, 2, 2, 1, 0])
    with torch.no_grad():
        first = model(ids, cluster_ids=cluster, **sides).logits
        for _ in range(3):  # a second epoch, and a third
            torch.testing.assert_close(model(ids, cluster_ids=cluster, **sides).logits, first)
        alone = [
            model(ids[i : i + 1], cluster_ids=cluster[i : i + 1], **{k: v[i : i + 1] for k, v in sides.items()}).logits
            for i in range(6)
        ]
    torch.testing.assert_close(torch.cat(alone), first, rtol=1e-4, atol=1e-5)


def test_an_experts_activation_takes_the_gate_alone():
    experts = FineGrainedExperts(ExpertsConfig(), experts=1, hidden=8, width=4, activation="silu")
    x = torch.randn(3, 8)
    gate, up = (x @ experts.gate_up_proj[0].T).chunk(2, dim=-1)
    expected = (torch.nn.functional.silu(gate) * up) @ experts.down_proj[0].T
    torch.testing.assert_close(experts(x, torch.zeros(3, 1, dtype=torch.long), torch.ones(3, 1)), expected)


def test_pretrained_ffn_weights_are_kept():
    from transformers import LlamaConfig, LlamaForCausalLM

    from gavamoe.moe.convert import convert

    torch.manual_seed(0)
    base = LlamaForCausalLM(
        LlamaConfig(vocab_size=50, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2)
    )
    dense = base.model.layers[0].mlp
    x = torch.randn(2, 5, 16)
    expected = dense(x)
    routing = RoutingState()
    convert(base, MoEShape(clusters=2, experts=4, top_k=2, width=6), routing, "partition")
    every = torch.arange(4).expand(10, 4)
    summed = base.model.layers[0].mlp.experts(x.flatten(0, 1), every, torch.ones(10, 4)).view_as(x)
    torch.testing.assert_close(summed, expected, rtol=1e-5, atol=1e-5)


def test_user_and_item_vectors_survive_initialisation_and_saving(tmp_path):
    torch.manual_seed(0)
    users, items = torch.randn(12, 6), torch.randn(9, 6)
    config = ExplainerConfig(**TINY["explainer"])
    model, _ = build.from_scratch(["a fine film", "a dull film"] * 20, config, 3, SoftTokenVectors(users, items))
    assert torch.equal(model.user_token.vectors.weight, users)
    assert torch.equal(model.item_token.vectors.weight, items)
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    assert_same_weights(model.state_dict(), loaded.state_dict())


def test_generation_stops_at_the_tokenizers_own_end_token(explainer):
    end = explainer.tokenizer.eos_token_id

    def end_at_the_third(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores[:, end] = 1e4 if ids.shape[1] >= 3 + 3 else -1e4
        return scores

    prompt = torch.tensor([PromptEncoder(explainer.tokenizer)(PromptFields())])
    one = torch.tensor([1])
    sides = {"user_ids": one, "item_ids": one, "cluster_ids": one}
    output = explainer.model.generate(prompt, logits_processor=[end_at_the_third], **sides)
    assert output.shape[1] == 3 + 3 + 1
    assert output[0, -1] == end


def test_the_true_rating_and_feature_do_not_reach_the_default_prompt(explainer):
    pairs = pl.DataFrame(
        {"user": ["u01", "u02"], "item": ["i01", "i02"], "rating": [1, 1], "feature": ["music", "pace"]}
    )
    other = pairs.with_columns(rating=pl.lit(5), feature=pl.lit("story"))
    assert explainer.explain_batch(pairs) == explainer.explain_batch(other)
    assert not Condition().oracle
    assert (
        explainer.tokenizer.decode(PromptEncoder(explainer.tokenizer)(PromptFields())).replace(" ", "")
        == USER + ITEM + EXPLAIN
    )


def test_every_row_is_scored_and_an_empty_output_is_kept(explainer, dataset_path, monkeypatch):
    reviews = ReviewDataset.load(dataset_path).interactions("test")
    full = evaluate(explainer, EvalSet.from_reviews(reviews, explainer.catalog), Condition(), {})
    assert full.n == len(reviews) == len(full.explanations)
    silent = [type(e)(**{**e.to_dict(), "text": ""}) for e in full.explanations]
    monkeypatch.setattr(type(explainer), "explain_batch", lambda *args, **kwargs: silent)
    empty = evaluate(explainer, EvalSet.from_reviews(reviews, explainer.catalog), Condition(), {})
    assert empty.n == len(reviews)
    assert empty.conditions["empty"] == len(reviews)
    assert empty.metrics["BLEU-1"] == empty.metrics["rouge_1/f_score"] == 0


def test_training_validates_and_restores_the_best_weights():
    rng = np.random.default_rng(0)
    arrays = [
        InteractionArrays(rng.integers(1, 31, n), rng.integers(1, 21, n), rng.integers(1, 6, n)) for n in (300, 60)
    ]
    config = PreferenceConfig(clusters=2, latent=4, embedding=8, hidden=8, pretrain_epochs=8, epochs=8, restarts=1)
    torch.manual_seed(0)
    model = PreferenceModel(30, 20, 5, 2, 4, 8, 8)
    history = fit_preference(model, *arrays, config)
    from gavamoe.preference.batches import Interactions
    from gavamoe.preference.losses import KLWeights
    from gavamoe.preference.validation import validate

    joint = [r for r in history if r["phase"] == "joint" and r["epoch"] >= config.warmup_epochs]
    best = min(joint, key=lambda record: record["valid_objective"])
    train, valid = map(Interactions, arrays)
    assert validate(model, valid, KLWeights.from_interactions(train, model.users, model.items, model.device))[
        "valid_nll"
    ] == pytest.approx(best["valid_nll"], abs=1e-6)


def test_the_first_epoch_does_not_run_at_learning_rate_zero(tmp_path):
    arguments = training_arguments(
        ExplainerConfig().resolve_defaults(base=False), seed=0, checkpoints=tmp_path, steps=300
    )
    assert 0 < arguments.get_warmup_steps(2000) < 2000 / arguments.num_train_epochs
    from transformers import get_scheduler

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=arguments.learning_rate)
    schedule = get_scheduler(arguments.lr_scheduler_type, optimizer, arguments.get_warmup_steps(2000), 2000)
    optimizer.step()
    schedule.step()
    assert schedule.get_last_lr()[0] > 0


@pytest.mark.parametrize(("users", "items", "clusters", "words"), [(3, 50, 1, 10), (70, 4, 6, 300)])
def test_no_count_of_users_clusters_or_words_is_written_into_the_code(users, items, clusters, words):
    texts = [f"word{i} and word{i + 1}" for i in range(words)]
    config = parse_config(TINY).explainer
    model, tokenizer = build.from_scratch(
        texts, config, clusters, SoftTokenVectors(torch.randn(users + 1, 4), torch.randn(items + 1, 4))
    )
    prompt = tokenizer(f"{USER}{ITEM}{EXPLAIN}", return_tensors="pt")["input_ids"]
    output = model.generate(
        prompt,
        user_ids=torch.tensor([users]),
        item_ids=torch.tensor([items]),
        cluster_ids=torch.tensor([clusters - 1]),
        max_new_tokens=3,
    )
    assert output.max() < len(tokenizer)


def test_nothing_needs_a_gpu():
    calls = [
        path.name
        for path in SOURCE.rglob("*.py")
        if re.search(r"\.cuda\(\)|device\s*=\s*[\"']cuda", path.read_text("utf-8"))
    ]
    assert calls == []


def test_mixture_density_agrees_with_torch_distributions():
    torch.manual_seed(0)
    prior = MixturePrior(clusters=3, latent=4)
    with torch.no_grad():
        prior.logits_K.copy_(torch.randn(3))
        prior.raw_log_var_KD.copy_(torch.randn(3, 4))
    from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

    components = Independent(Normal(prior.mean_KD, (0.5 * prior.log_var_KD).exp()), 1)
    reference = MixtureSameFamily(Categorical(logits=prior.logits_K), components)
    z = torch.randn(20, 4)
    density = prior.log_joint(z).logsumexp(-1)
    torch.testing.assert_close(density, reference.log_prob(z), rtol=1e-4, atol=1e-4)


def test_a_batch_may_mix_clusters_and_a_wrong_count_is_refused():
    routing = RoutingState()
    block = MultiGateMoE(MoEShape(clusters=3, experts=4, top_k=2, width=8), 16, "silu", 0, routing)
    routing.begin(torch.tensor([0, 2]))
    assert block(torch.randn(2, 7, 16)).shape == (2, 7, 16)
    with pytest.raises(ValueError, match="2 cluster ids for a batch of 3"):
        block(torch.randn(3, 7, 16))
    assert math.isfinite(routing.logits[0].sum().item())
