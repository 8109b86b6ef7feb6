"""The model card of a run says what the run has."""

import shutil
from dataclasses import replace

from gavamoe.data.dataset import ReviewDataset
from gavamoe.pipeline.model_card import write_model_card
from gavamoe.run import RunDirectory


def test_the_card_names_the_experts_of_a_run_and_none_of_a_dense_one(run_path, dataset_path, tmp_path):
    run = RunDirectory(shutil.copytree(run_path, tmp_path / "run"))
    card, dataset = run.read_card(), ReviewDataset.load(dataset_path)
    explainer = card.settings.explainer
    experts = f"are {explainer.experts * explainer.granularity} experts"
    assert experts in run.model_card.read_text()
    dense = explainer.model_copy(update={"moe_layers": []})
    write_model_card(run, dataset, replace(card, config=card.settings.model_copy(update={"explainer": dense})))
    assert experts not in run.model_card.read_text()
    assert "feed-forward networks are dense, without experts" in run.model_card.read_text()
