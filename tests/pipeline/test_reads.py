"""A run whose stage 1 reads the texts and whose clusters share a gate: trained, saved, loaded, explained with."""

import json
import math

import pytest

from gavamoe.config import parse_config
from gavamoe.errors import InputError
from gavamoe.explainer.explainer import Explainer
from gavamoe.moe.gate import cluster_gates
from gavamoe.pipeline.train import train_run
from gavamoe.preference.text_target import TextTarget

READS = {"reconstructs": "ratings+words", "text_latent": 6, "choose_clusters": "text", "cluster_range": [2, 3]}


@pytest.fixture(scope="module")
def reading_run(dataset_path, tiny_config, tmp_path_factory):
    settings = tiny_config.model_dump(exclude_unset=True)
    settings["preference"] = settings.get("preference", {}) | READS
    settings["explainer"] = settings.get("explainer", {}) | {"gate": "shared"}
    path = tmp_path_factory.mktemp("reads") / "run"
    train_run(dataset_path, path, parse_config(settings), preset="tiny")
    return path


def test_a_run_that_reads_keeps_its_vocabulary_and_records_of_the_text_block(reading_run):
    target = TextTarget.load(reading_run / "preference")
    assert target is not None
    assert target.kind == "words"
    records = json.loads((reading_run / "training.json").read_text())
    phases = [record["phase"] for record in records["preference"]]
    assert phases[0] == "text"
    assert phases[-1] == "mixture"
    assert {record["clusters"] for record in records["clusters"]} == {2, 3}
    assert all(math.isfinite(record["text"]) for record in records["clusters"])


def test_a_saved_run_that_reads_keeps_its_vocabulary(reading_run, tmp_path):
    Explainer.from_pretrained(reading_run).save_pretrained(tmp_path / "saved")
    assert TextTarget.load(tmp_path / "saved" / "preference") == TextTarget.load(reading_run / "preference")


def test_stage_2_of_a_run_that_reads_gets_the_vectors_of_ratings_and_texts_and_explains(reading_run):
    explainer = Explainer.from_pretrained(reading_run)
    ratings, texts = explainer.preference.encoder, explainer.preference.text.encoder
    width = ratings.user.offset.embedding_dim + texts.user.offset.embedding_dim
    assert explainer.preference.embedding_tables()[0].shape[1] == width
    explanation = explainer.explain(user=explainer.catalog.users["user"][0], item=explainer.catalog.items["item"][0])
    assert explanation.text
    assert all(gate.own_share == 1 for gate in cluster_gates(explainer.model))


def test_data_without_texts_are_refused_by_a_stage_1_that_reads(ratings_path, tiny_config, tmp_path):
    settings = tiny_config.model_dump(exclude_unset=True)
    settings["preference"] = settings.get("preference", {}) | READS
    with pytest.raises(InputError, match="reconstructs=ratings"):
        train_run(ratings_path, tmp_path / "run", parse_config(settings), preset="tiny", stage="preference")
    assert not (tmp_path / "run" / "preference").exists()
