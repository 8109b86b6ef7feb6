"""The model card of a run says what the run has."""

import shutil
from dataclasses import replace

import pytest

from gavamoe.data.catalog import Catalog
from gavamoe.explainer.model_card import write_model_card
from gavamoe.run import RunDirectory


@pytest.fixture
def run(run_path, tmp_path):
    return RunDirectory(shutil.copytree(run_path, tmp_path / "run"))


def test_the_card_names_the_experts_of_a_run_and_none_of_a_dense_one(run):
    card = run.read_card()
    explainer = card.settings.explainer
    experts = f"are {explainer.experts * explainer.granularity} experts"
    assert experts in run.model_card.read_text()
    dense = explainer.model_copy(update={"moe_layers": []})
    dense_card = replace(card, config=card.settings.model_copy(update={"explainer": dense}))
    write_model_card(run, Catalog.load(run.catalog), dense_card)
    assert experts not in run.model_card.read_text()
    assert "feed-forward networks are dense, without experts" in run.model_card.read_text()


def test_the_card_names_shared_experts_and_the_layers_that_have_experts(run):
    card = run.read_card()
    explainer = card.settings.explainer.model_copy(update={"shared_experts": 3, "moe_layers": [1, 0]})
    write_model_card(
        run, Catalog.load(run.catalog), replace(card, config=card.settings.model_copy(update={"explainer": explainer}))
    )
    text = " ".join(run.model_card.read_text().split())
    assert "feed-forward networks in layers 0, 1 are" in text
    assert "and 3 shared ones that every token passes through" in text


def test_a_trained_run_names_its_records_and_a_saved_one_how_transformers_loads_it(run, explainer, tmp_path):
    explainer.save_pretrained(tmp_path / "saved")
    trained, saved = run.model_card.read_text(), (tmp_path / "saved" / "README.md").read_text()
    assert "`training.json`: losses" in trained
    assert "AutoModelForCausalLM" not in trained
    assert "training.json" not in saved
    assert 'AutoModelForCausalLM.from_pretrained("saved", subfolder="explainer")' in saved
    clusters = f"a mixture prior of {explainer.preference.clusters} clusters\n"
    assert clusters in trained
    assert clusters in saved
