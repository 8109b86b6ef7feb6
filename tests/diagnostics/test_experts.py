"""Experts: specialisation against its floor, redundancy and load; and the probe, which never changes the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gavamoe.config import RunConfig
from gavamoe.data.dataset import HAS_TEXT, ReviewDataset
from gavamoe.data.prepare import PrepareOptions, prepare
from gavamoe.data.simulate import World, simulate
from gavamoe.data.tables import write_table
from gavamoe.diagnostics.expert_probe import KINDS, ExpertProbe
from gavamoe.diagnostics.experts import (
    ExpertFigures,
    examine_experts,
    layer_figures,
    load_entropy,
    mean_divergence,
    normalized_information,
)
from gavamoe.explainer.dataset import Collator, ExplanationDataset
from gavamoe.explainer.explainer import Explainer
from gavamoe.explainer.validation import validation_loss
from gavamoe.pipeline.diagnosed_run import DiagnosedRun
from gavamoe.pipeline.train import train_run

COUNTS = st.lists(st.lists(st.integers(0, 30), min_size=4, max_size=4), min_size=2, max_size=5)


@pytest.fixture(scope="module")
def probe(explainer, dataset_path, tiny_config) -> ExpertProbe:
    reviews = ReviewDataset.load(dataset_path).interactions("valid").filter(HAS_TEXT)
    return ExpertProbe(explainer, reviews, tiny_config.explainer.resolve_defaults(base=False), 0)


def figures_of(count_NE: np.ndarray, cluster_N: np.ndarray, top_k: int = 1):
    experts = count_NE.shape[1]
    return layer_figures(count_NE, cluster_N, 0, top_k, np.eye(experts), 0)


@given(COUNTS)
@settings(max_examples=60)
def test_information_and_divergence_are_between_0_and_1(counts):
    count_CE = np.array(counts, dtype=float)
    assert -1e-9 <= normalized_information(count_CE) <= 1 + 1e-9
    assert -1e-9 <= mean_divergence(count_CE) <= 1 + 1e-9


def test_an_expert_for_each_cluster_has_full_information_and_equal_use_has_none():
    assert normalized_information(np.diag([5.0, 7.0, 9.0])) == pytest.approx(1)
    assert mean_divergence(np.diag([5.0, 7.0, 9.0])) == pytest.approx(1)
    assert normalized_information(np.ones((3, 4))) == pytest.approx(0, abs=1e-12)
    assert mean_divergence(np.ones((3, 4))) == pytest.approx(0, abs=1e-12)


def test_only_specialised_experts_exceed_the_floor():
    rng = np.random.default_rng(0)
    cluster = np.arange(120) % 3
    alike = rng.multinomial(20, [0.25] * 4, 120).astype(float)
    found = figures_of(alike, cluster)
    assert found.information < found.information_floor * 1.5
    own = np.array([rng.multinomial(20, np.where(np.arange(4) == c, 0.7, 0.1)) for c in cluster], dtype=float)
    found = figures_of(own, cluster)
    assert found.information > 10 * found.information_floor
    assert found.divergence > 10 * found.divergence_floor


@pytest.mark.parametrize(
    ("load", "top_k", "expected"),
    [
        ([5, 5, 5, 5], 1, 1.0),
        ([20, 0, 0, 0], 1, 0.0),
        ([10, 10, 0, 0], 2, 0.0),
        ([10, 10, 0, 0], 1, 0.5),
        ([3, 3], 2, 1.0),
        ([0, 0, 0], 1, 1.0),
    ],
)
def test_the_balance_runs_from_one_choice_for_all_tokens_to_even_use(load, top_k, expected):
    assert load_entropy(np.array(load, dtype=float), top_k) == pytest.approx(expected)


def test_copies_are_alike_and_dead_experts_are_counted():
    cosine = np.array([[1, 0.99, 0.1], [0.99, 1, 0.1], [0.1, 0.1, 1]])
    count = np.tile([30.0, 30.0, 0.0], (10, 1))
    found = layer_figures(count, np.arange(10) % 2, 3, 1, cosine, 0)
    assert found.alike == pytest.approx(2 / 3)
    assert (found.layer, found.dead) == (3, 1)


def test_the_loss_of_the_probe_is_the_validation_loss(probe, explainer, tiny_config):
    config = tiny_config.explainer.resolve_defaults(base=False)
    dataset = ExplanationDataset(
        probe.pairs, texts_of(probe, explainer), explainer.prompt, config, 0, hide=False, facts=None
    )
    collate = Collator(probe.tokenizer.pad_token_id)
    expected = validation_loss(explainer.model, dataset, collate, torch.device("cpu"))
    assert probe.loss() == pytest.approx(expected, rel=1e-4)


def texts_of(probe: ExpertProbe, explainer: Explainer) -> list[str]:
    texts = [""] * len(probe.pairs)
    for rows, batch in zip(probe.rows, probe.batches, strict=True):
        for row, labels in zip(rows, batch["labels"], strict=True):
            texts[row] = explainer.tokenizer.decode(labels[labels >= 0], skip_special_tokens=True).strip()
    return texts


def test_measurements_leave_the_model_as_it_was(probe, explainer):
    before = {name: tensor.clone() for name, tensor in explainer.model.state_dict().items()}
    loss = probe.loss()
    examine_experts(probe, soft=True, seed=0)
    assert probe.loss() == loss
    assert all(torch.equal(tensor, before[name]) for name, tensor in explainer.model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in explainer.model.modules())


def test_an_expert_is_removed_from_its_layer_alone(probe):
    experts = probe.blocks[0].shape.experts
    losses = [[probe.loss_without(block.layer, expert) for expert in range(experts)] for block in probe.blocks[:2]]
    assert np.isfinite(losses).all()
    assert np.max(losses) > probe.loss()
    assert all(first != second for first, second in zip(*losses, strict=True))


def test_soft_gates_of_certain_pairs_are_hard_gates(probe):
    sure, probe.gamma_NC = probe.gamma_NC, np.eye(probe.gates)[probe.gate_N]
    try:
        assert probe.loss_with_soft_gates() == pytest.approx(probe.loss(), rel=1e-5)
    finally:
        probe.gamma_NC = sure


def test_every_token_of_a_text_is_counted_once_by_text_and_by_kind(probe):
    use = probe.use()
    top_k = probe.blocks[0].shape.top_k
    tokens = sum(
        int(((batch["labels"] >= 0) & (batch["labels"] != probe.tokenizer.eos_token_id)).sum())
        for batch in probe.batches
    )
    assert use.by_text.sum((0, 2)).tolist() == [tokens * top_k] * len(use.layers)
    assert use.by_kind.sum((0, 2)).tolist() == [tokens * top_k] * len(use.layers)
    assert (use.by_kind.sum((1, 2)) > 0).all(), KINDS


def test_the_same_gates_change_no_selection(probe):
    assert probe.selections_changed(lambda cluster: cluster) == 0
    assert probe.selections_changed(lambda cluster: (cluster + 1) % probe.gates) > 0


def test_the_output_of_an_expert_equals_itself(probe):
    cosine_LEE = probe.output_cosines()
    assert np.allclose(np.diagonal(cosine_LEE, axis1=1, axis2=2), 1, atol=1e-4)
    assert (np.abs(cosine_LEE) <= 1 + 1e-4).all()


def test_merged_experts_do_the_work_of_both_and_leave_the_model_as_it_was(probe):
    layer, whole = probe.blocks[0].layer, probe.loss()
    assert probe.loss_with_merged(layer, 1, 1) == pytest.approx(whole, abs=1e-6)
    assert probe.loss_with_merged(layer, 0, 1) != pytest.approx(whole, abs=1e-6)
    assert probe.loss() == whole


def test_two_equal_experts_can_be_merged_at_no_cost(run_path, dataset_path, tiny_config):
    reviews = ReviewDataset.load(dataset_path).interactions("valid").filter(HAS_TEXT)
    twins = ExpertProbe(Explainer.from_pretrained(run_path), reviews, tiny_config.explainer.resolve_defaults(False), 0)
    with torch.no_grad():
        for weights in (twins.blocks[0].experts.gate_up_proj, twins.blocks[0].experts.down_proj):
            weights[2] = weights[1]
    found = examine_experts(twins, soft=True, seed=0)
    assert [merge["layer"] for merge in found.merges] == [block.layer for block in twins.blocks]
    assert sorted(found.merges[0]["experts"]) == [1, 2]
    assert found.merges[0]["cosine"] == pytest.approx(1, abs=1e-4)
    assert found.merges[0]["rise"] == pytest.approx(0, abs=1e-5)


@pytest.mark.slow
def test_experts_specialise_where_groups_write_differently_and_only_there(tmp_path, tiny_config):
    same = examine_world(tmp_path / "same", tiny_config, style=0.0, separation=0.0)
    different = examine_world(tmp_path / "different", tiny_config, style=1.0, separation=1.0)
    assert different.loss_other_gates > 1.2 * different.loss
    assert same.loss_other_gates < 1.02 * same.loss
    for apart, alike in zip(different.layers, same.layers, strict=True):
        assert apart.information > 2 * apart.information_floor
        assert apart.information > 2 * alike.information


def examine_world(path: Path, config: RunConfig, **options: float) -> ExpertFigures:
    """Train both stages on a simulated world and return what its experts do."""
    path.mkdir()
    write_table(simulate(World(users=60, items=40, reviews=2200, clusters=3, **options)), path / "world.jsonl")
    prepare([str(path / "world.jsonl")], path / "data", PrepareOptions())
    train_run(path / "data", path / "run", config)
    subject = DiagnosedRun.open(path / "run")
    return subject.examine_experts(subject.explainer)
