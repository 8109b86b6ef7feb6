"""Every check fires on a run that was damaged on purpose, and not on the same run undamaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from helpers.runs import unsealed_copy

from gavamoe.data.dataset import ReviewDataset
from gavamoe.diagnostics.checks import RULES, judge
from gavamoe.diagnostics.text_checks import text_figures
from gavamoe.errors import RunError
from gavamoe.explainer.gate_assignment import GateAssignment
from gavamoe.explainer.lora import load_model
from gavamoe.files import write_json_lines
from gavamoe.moe.block import MultiGateMoE
from gavamoe.pipeline.diagnose import diagnose_run, diagnosis_of
from gavamoe.pipeline.diagnosed_run import DiagnosedRun
from gavamoe.pipeline.train import train_run
from gavamoe.preference.model import PreferenceModel
from gavamoe.run import RunDirectory

Edit = Callable[[RunDirectory], None]
INVENTED = "zeppelins"


def prediction_rows(data: Path) -> list[dict[str, object]]:
    """Predictions that are coherent, varied and supported: the texts of other training reviews of the same item."""
    reviews = ReviewDataset.load(data).interactions("train")
    by_item: dict[str, list[dict[str, object]]] = {}
    for row in reviews.select("user", "item", "rating", "text", "feature").to_dicts():
        by_item.setdefault(row["item"], []).append(row)
    return [
        {
            "user": row["user"],
            "item": item,
            "prediction": other["text"],
            "predicted_rating": other["rating"],
            "reference": row["text"],
            "rating": row["rating"],
            "feature": row["feature"],
        }
        for item, rows in by_item.items()
        for row, other in zip(rows, [*rows[1:], rows[0]], strict=True)
    ]


@pytest.fixture(scope="module")
def healthy(run_path: Path, dataset_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the shared run with predictions."""
    run = RunDirectory(unsealed_copy(run_path, tmp_path_factory.mktemp("healthy") / "run"))
    write_json_lines(run.path / "predictions.jsonl", prediction_rows(dataset_path))
    return run.path


@pytest.fixture(scope="module")
def statuses(healthy: Path) -> dict[str, str]:
    """The status of each check on the healthy run."""
    return statuses_of(healthy)


def statuses_of(run: Path) -> dict[str, str]:
    return {check["name"]: check["status"] for check in diagnosis_of(DiagnosedRun.open(run))["checks"]}


def edit_preference(change: Callable[[PreferenceModel], None]) -> Edit:
    def edit(run: RunDirectory) -> None:
        model = PreferenceModel.from_pretrained(run.preference)
        with torch.no_grad():
            change(model)
        model.save_pretrained(run.preference)

    return edit


def edit_blocks(change: Callable[[MultiGateMoE], None]) -> Edit:
    def edit(run: RunDirectory) -> None:
        model = load_model(run.explainer)
        with torch.no_grad():
            for block in (module for module in model.modules() if isinstance(module, MultiGateMoE)):
                change(block)
        model.save_pretrained(run.explainer)

    return edit


def zero_users(model: PreferenceModel) -> None:
    """All users get the latent of the unknown user."""
    model.encoder.user.offset.weight.zero_()


def scatter_components(model: PreferenceModel) -> None:
    """Components that have nothing to do with where users are: random directions through their mean, very wide."""
    users_UD = model.latent_means()[0]
    generator = torch.Generator().manual_seed(3)
    half = users_UD.shape[1]
    model.prior.mean_KD[:, :half] = users_UD.mean(0) + 30 * torch.randn(model.clusters, half, generator=generator)
    model.prior.mean_KD[:, :half] -= model.prior.mean_KD[:, :half].mean(0) - users_UD.mean(0)
    model.prior.raw_log_var_KD.fill_(7.0)
    model.prior.logits_K.zero_()


def copy_expert(block: MultiGateMoE) -> None:
    for weight in (block.experts.gate_up_proj, block.experts.down_proj):
        weight.copy_(weight[:1].expand_as(weight).clone())


def constant_gate(block: MultiGateMoE) -> None:
    """The gate of the first cluster has equal logits for all tokens, so it always selects the same experts."""
    block.gate.weight_CEH[0] = 0.0


def one_text(rows: list[dict]) -> None:
    for row in rows:
        row["prediction"] = "a mixed evening , and the story is rich ."


def shuffle_texts(rows: list[dict]) -> None:
    texts = [row["prediction"] for row in rows]
    for row, place in zip(rows, np.random.default_rng(0).permutation(len(rows)), strict=True):
        row["prediction"] = texts[place]


def invent_features(rows: list[dict]) -> None:
    for row in rows[::2]:
        row["prediction"] = f"i loved the {INVENTED} ."


def random_gates(run: RunDirectory) -> None:
    GateAssignment("random", 3, seed=1).save(run.explainer)


ILLNESSES: list[tuple[str, str, Edit]] = [
    ("posterior_collapse", "all users have one latent", edit_preference(zero_users)),
    ("poor_clustering", "all users have one latent", edit_preference(zero_users)),
    ("poor_clustering", "components away from the users", edit_preference(scatter_components)),
    ("ineffective_routing", "gates by a hash of the pair", random_gates),
    ("expert_redundancy", "one expert copied over the others", edit_blocks(copy_expert)),
    ("load_collapse", "a gate with constant logits", edit_blocks(constant_gate)),
]


def test_a_healthy_run_fails_no_check(statuses):
    assert set(statuses) == set(RULES)
    assert set(statuses.values()) == {"pass"}


@pytest.mark.parametrize(("name", "edit"), [pytest.param(n, e, id=f"{n}: {words}") for n, words, e in ILLNESSES])
def test_a_check_fires_on_an_ill_run(name, edit, healthy, tmp_path):
    run = RunDirectory(unsealed_copy(healthy, tmp_path / "run"))
    edit(run)
    assert statuses_of(run.path)[name] == "fail"


@pytest.mark.parametrize(
    ("name", "figure", "change"),
    [
        ("generic_text", "distinct", one_text),
        ("rating_text_incoherence", "coherence", shuffle_texts),
        ("hallucinated_features", "hallucination", invent_features),
    ],
)
def test_a_check_fires_on_ill_texts(name, figure, change, dataset_path):
    dataset = ReviewDataset.load(dataset_path)
    dataset.catalog.features.append(INVENTED)  # a feature of the data that no training review names
    train, rows = dataset.interactions("train"), prediction_rows(dataset_path)
    assert judge(name, getattr(text_figures(rows, dataset.catalog, train), figure)).status == "pass"
    change(rows)
    assert judge(name, getattr(text_figures(rows, dataset.catalog, train), figure)).status == "fail"


def test_equal_gates_warn_that_gates_make_no_difference(healthy, tmp_path):
    def equalise(block: MultiGateMoE) -> None:
        block.gate.weight_CEH.copy_(block.gate.weight_CEH[:1].expand_as(block.gate.weight_CEH).clone())

    run = RunDirectory(unsealed_copy(healthy, tmp_path / "run"))
    edit_blocks(equalise)(run)
    found = diagnosis_of(DiagnosedRun.open(run.path))
    check = next(check for check in found["checks"] if check["name"] == "ineffective_routing")
    assert check["status"] == "warn"
    assert "make no difference" in check["advice"]
    assert found["experts"]["selections_changed"] == 0


@pytest.mark.parametrize("name", RULES)
def test_a_status_follows_the_thresholds(name):
    rule = RULES[name]
    worse = 1 if rule.high_is_bad else -1
    assert rule.status(rule.fail) == rule.status(rule.fail + worse) == "fail"
    assert rule.status(rule.warn) == rule.status((rule.warn + rule.fail) / 2) == "warn"
    assert rule.status(rule.warn - worse * 1e-6) == "pass"


def test_a_run_of_one_cluster_skips_what_clusters_decide(run_path, dataset_path, tmp_path, tiny_config):
    one = tiny_config.preference.model_copy(update={"clusters": 1, "epochs": 1, "pretrain_epochs": 1})
    train_run(dataset_path, tmp_path / "run", tiny_config.model_copy(update={"preference": one}), stage="preference")
    found = diagnose_run(tmp_path / "run", tmp_path / "out")
    by_name = {check["name"]: check for check in found["checks"]}
    assert by_name["poor_clustering"]["status"] == by_name["ineffective_routing"]["status"] == "skipped"
    assert "single cluster" in by_name["poor_clustering"]["advice"]
    assert by_name["load_collapse"]["advice"] == "the run has no stage 2"
    assert (tmp_path / "out/report.html").is_file()


def test_ratings_without_texts_are_diagnosed(rating_run_path):
    found = diagnosis_of(DiagnosedRun.open(rating_run_path))
    assert {row["text_gain"] for row in found["comparison"]} == {None}
    needs_texts = {"expert_redundancy", "load_collapse", "generic_text", "rating_text_incoherence"}
    needs_texts.add("hallucinated_features")
    assert {check["name"] for check in found["checks"] if check["status"] == "skipped"} == needs_texts
    assert all(check["advice"] for check in found["checks"] if check["status"] == "skipped")
    assert all(cluster["words"] == [] for cluster in found["clusters"])


def test_jittered_ratings_are_compared_with_other_seeds(rating_run_path, tmp_path):
    changes = diagnose_run(rating_run_path, tmp_path, seeds=1)["routing"]["changes"]
    assert changes.keys() == {"another seed", "10% of ratings dropped", "10% of ratings flipped"}
    assert all(0 <= share <= 1 for shares in changes.values() for share in shares)
    assert "retraining" in (tmp_path / "report.html").read_text()


def test_predictions_that_cannot_be_read_are_one_clear_error(healthy, tmp_path):
    run = RunDirectory(unsealed_copy(healthy, tmp_path / "run"))
    (run.path / "predictions.jsonl").write_text("no json\n")
    with pytest.raises(RunError, match=r"predictions\.jsonl"):
        diagnose_run(run.path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_few_predictions_skip_the_checks_of_texts(dataset_path):
    dataset = ReviewDataset.load(dataset_path)
    rows = prediction_rows(dataset_path)[:5]
    assert "20 are needed" in text_figures(rows, dataset.catalog, dataset.interactions("train"))
    assert "20 are needed" in text_figures([{"user": "u"}], dataset.catalog, pl.DataFrame())


def test_references_that_do_not_tell_their_ratings_skip_the_check_of_coherence(dataset_path):
    dataset = ReviewDataset.load(dataset_path)
    rows = prediction_rows(dataset_path)
    ratings = np.random.default_rng(0).permutation([row["rating"] for row in rows])
    rows = [{**row, "rating": rating} for row, rating in zip(rows, ratings.tolist(), strict=True)]
    figures = text_figures(rows, dataset.catalog, dataset.interactions("train"))
    assert "hardly tell their ratings" in figures.coherence
