"""Which gate a pair uses: stage 1's clusters, and the ablations they are compared with."""

import numpy as np
import pytest
import torch

from gavamoe.config import parse_config
from gavamoe.explainer.explainer import Explainer
from gavamoe.explainer.gate_assignment import GateAssignment
from gavamoe.pipeline.train import train_run
from gavamoe.preference.model import PreferenceModel

USER, ITEM = np.arange(40) % 9, np.arange(40) % 7


@pytest.fixture
def preference():
    torch.manual_seed(0)
    return PreferenceModel(users=8, items=6, levels=5, clusters=3, latent=4).eval()


def clusters_of(preference):
    return preference.assign(torch.from_numpy(USER), torch.from_numpy(ITEM)).numpy()


@pytest.mark.parametrize("source", ["model", "random", "kmeans", "one"])
def test_a_pairs_gate_does_not_depend_on_its_batch_and_survives_saving(preference, tmp_path, source):
    assignment, clusters = GateAssignment.fit(source, preference, USER, ITEM, seed=1), clusters_of(preference)
    gates = assignment.assign(preference, USER, ITEM, clusters)
    assert gates.min() >= 0
    assert gates.max() < assignment.count == (1 if source == "one" else 3)
    alone = [
        int(assignment.assign(preference, *(each[[row]] for each in (USER, ITEM, clusters)))[0]) for row in range(40)
    ]
    assert alone == gates.tolist()
    assignment.save(tmp_path)
    assert GateAssignment.load(tmp_path, preference) == assignment


def test_without_a_file_the_clusters_are_those_of_stage_1(preference, tmp_path):
    clusters = clusters_of(preference)
    gates = GateAssignment.load(tmp_path, preference).assign(preference, USER, ITEM, clusters)
    assert gates.tolist() == clusters.tolist()


def test_random_gates_are_even_and_independent_of_user_and_item(preference):
    users, items = preference.users + 1, 400
    user, item = (ids.ravel() for ids in np.meshgrid(np.arange(users), np.arange(items)))
    gates = GateAssignment("random", 3).assign(preference, user, item, np.zeros_like(user))
    assert np.bincount(gates) / len(gates) == pytest.approx([1 / 3] * 3, abs=0.03)
    assert all(set(gates[user == one]) == {0, 1, 2} for one in range(users))
    shares = [np.bincount(gates[user == one], minlength=3) / items for one in range(users)]
    assert np.array(shares) == pytest.approx(1 / 3, abs=0.12)


def test_kmeans_assigns_the_nearest_centre_in_the_latent_space(preference):
    assignment = GateAssignment.fit("kmeans", preference, USER, ITEM, seed=0)
    latent = preference.latent(torch.from_numpy(USER), torch.from_numpy(ITEM)).numpy()
    distance = ((latent[:, None] - np.array(assignment.centres)[None]) ** 2).sum(-1)
    gates = assignment.assign(preference, USER, ITEM, clusters_of(preference))
    assert gates.tolist() == distance.argmin(1).tolist()


def test_a_run_without_preference_vectors_and_with_one_gate_trains_and_explains(dataset_path, tiny_config, tmp_path):
    tree = tiny_config.model_dump()
    tree["explainer"] |= {"gate_clusters": "one", "use_preference_vectors": False, "epochs": 1}
    train_run(dataset_path, tmp_path / "run", parse_config(tree), preset="tiny")
    explainer = Explainer.from_pretrained(tmp_path / "run")
    assert explainer.model.config.clusters == 1
    assert explainer.model.config.side_width == tree["explainer"]["soft_token_width"]
    users, items = explainer.catalog.user_names[1:9], explainer.catalog.item_names[1:9]
    explanations = explainer.explain_batch([*zip(users, items, strict=True), ("new", items[0])], evidence=3)
    assert len({e.cluster for e in explanations}) > 1, "one gate, and still the clusters of stage 1"
    assert all(e.cluster == int(np.argmax(e.responsibilities)) for e in explanations)
    assert any(e.evidence for e in explanations)
    assert all(sentence.cluster == e.cluster for e in explanations for sentence in e.evidence)


def test_without_any_vector_only_the_gate_distinguishes_pairs(dataset_path, tiny_config, tmp_path):
    tree = tiny_config.model_dump()
    tree["explainer"] |= {
        "gate_clusters": "random",
        "use_preference_vectors": False,
        "soft_token_width": 0,
        "epochs": 1,
    }
    train_run(dataset_path, tmp_path / "run", parse_config(tree), preset="tiny")
    model = Explainer.from_pretrained(tmp_path / "run").model.eval()
    ids = torch.tensor([[model.config.user_token_id, model.config.item_token_id, 9, 11]] * 3)
    user, item, gate = torch.tensor([1, 4, 1]), torch.tensor([2, 3, 2]), torch.tensor([0, 0, 1])
    with torch.no_grad():
        one, same_gate, other_gate = model(ids, user_ids=user, item_ids=item, cluster_ids=gate).logits
    assert torch.equal(one, same_gate)
    assert not torch.allclose(one, other_gate)
