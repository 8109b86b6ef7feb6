"""The public interface of a trained run."""

import shutil

import numpy as np
import polars as pl
import pytest
from helpers.runs import unsealed_copy

import gavamoe
from gavamoe.conditions import Condition
from gavamoe.errors import DataError, RunError
from gavamoe.features.predictor import FeaturePredictor
from gavamoe.run import RunDirectory


def some_pairs(count: int = 12) -> pl.DataFrame:
    return pl.DataFrame(
        {"user": [f"u{i + 1:02d}" for i in range(count)], "item": [f"i{i % 19 + 1:02d}" for i in range(count)]}
    )


def test_the_package_exports_its_three_names():
    assert {gavamoe.Explainer.__name__, gavamoe.PreferenceModel.__name__, gavamoe.ReviewDataset.__name__} == {
        "Explainer",
        "PreferenceModel",
        "ReviewDataset",
    }


def test_permuting_or_splitting_a_batch_changes_no_text(explainer):
    pairs = some_pairs()
    together = explainer.explain_batch(pairs)
    order = np.random.default_rng(0).permutation(len(pairs))
    permuted = explainer.explain_batch(pairs[order.tolist()])
    assert [e.text for e in permuted] == [together[row].text for row in order]
    alone = [explainer.explain_batch(pairs[row])[0] for row in range(len(pairs))]
    assert [e.text for e in alone] == [e.text for e in together]


def test_an_explanation_of_one_pair_has_all_fields(explainer):
    explanation = explainer.explain(user="u01", item="i01")
    assert sum(explanation.responsibilities) == pytest.approx(1, abs=1e-5)
    assert explanation.cluster == int(np.argmax(explanation.responsibilities))
    assert 1 <= explanation.rating <= 5
    config = explainer.model.config
    assert np.shape(explanation.experts) == (2, config.experts)
    np.testing.assert_allclose(np.sum(explanation.experts, axis=1), 1, atol=1e-5)
    assert not explanation.cold_user
    assert not explanation.cold_item


def test_unknown_users_and_items_are_explained_and_marked_as_cold(explainer):
    explanation = explainer.explain(user="nobody", item="i01")
    assert explanation.cold_user
    assert not explanation.cold_item
    assert explainer.explain(user=1, item=2).cold_item  # names of any type are compared as text


def test_a_given_rating_reaches_the_prompt_only_under_its_condition(explainer):
    pairs = some_pairs().with_columns(rating=pl.lit(1.0))
    assert explainer.explain_batch(pairs) == explainer.explain_batch(some_pairs())
    context, _ = explainer.context.build(pairs, Condition(rating="given"))
    assert context.level == [1] * len(pairs)
    with pytest.raises(DataError, match="rating=given needs a column rating"):
        explainer.explain_batch(some_pairs(), Condition(rating="given"))


def test_a_feature_is_predicted_from_the_features_of_item_and_user():
    train = pl.DataFrame(
        {"user_id": [1, 1, 2, 2, 3], "item_id": [1, 1, 2, 2, 2], "feature": ["music", "music", "pace", "pace", "pace"]}
    ).with_columns(text=pl.lit("so it was"))
    predictor = FeaturePredictor.fit(train)
    assert predictor.predict(np.array([1, 2, 0]), np.array([1, 2, 2])) == ["music", "pace", "pace"]
    nothing = FeaturePredictor.fit(train.with_columns(feature=pl.lit(None, dtype=pl.String)))
    assert nothing.predict(np.array([1]), np.array([1])) == [None]


def test_a_recommendation_excludes_reviewed_items_and_is_sorted(explainer):
    recommended = explainer.recommend("u01", top=50)
    seen = {explainer.catalog.item_names[item] for item in explainer.catalog.seen(explainer.catalog.user_id("u01"))}
    assert seen
    assert not seen & set(recommended["item"])
    assert recommended["rating"].is_sorted(descending=True)
    assert len(recommended) == explainer.catalog.n_items - len(seen)


@pytest.mark.parametrize(
    "name", ["preference/model.safetensors", "explainer/tokenizer.json", "catalog/users.parquet", "run.yaml"]
)
def test_a_missing_file_of_a_run_is_named(run_path, tmp_path, name):
    broken = tmp_path / "run"
    shutil.copytree(run_path, broken)
    (broken / name).unlink()
    with pytest.raises(RunError, match=name):
        gavamoe.Explainer.from_pretrained(broken)


def test_a_damaged_weight_file_is_a_one_line_error(run_path, tmp_path):
    broken = unsealed_copy(run_path, tmp_path / "run")
    weights = broken / "explainer" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(RunError, match="damaged"):
        gavamoe.Explainer.from_pretrained(broken)


@pytest.mark.parametrize("content", [b"", b"{}", b"PAR1 and no more"])
@pytest.mark.parametrize("name", ["features.parquet", "features.json", "clusters.json"])
def test_another_damaged_file_is_a_one_line_error_that_names_it(run_path, tmp_path, name, content):
    broken = unsealed_copy(run_path, tmp_path / "run")
    (broken / "explainer" / name).write_bytes(content)
    with pytest.raises(RunError, match=rf"explainer/{name} is damaged or of another version; copy it again") as refused:
        gavamoe.Explainer.from_pretrained(broken)
    assert "\n" not in str(refused.value)


def test_the_validation_losses_of_a_run_are_marked_as_an_oracles(run_path):
    records = RunDirectory(run_path).read_training()["explainer"]
    validated = [record["conditions"] for record in records if "eval_loss" in record]
    assert validated == [{"rating": "given", "feature": "given", "context": "none", "oracle": True}] * 3
