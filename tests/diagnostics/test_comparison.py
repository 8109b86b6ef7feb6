"""Clusterings side by side: separation, stability and gain on texts; how clusters write; the page of a diagnosis."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from gavamoe.data.catalog import Catalog
from gavamoe.data.scale import RatingScale
from gavamoe.diagnostics.clusterings import RANDOM, RUN, UserClustering
from gavamoe.diagnostics.clusters import posterior_information
from gavamoe.diagnostics.comparison import bootstrap_stability, separation
from gavamoe.diagnostics.latent_map import LatentMap
from gavamoe.diagnostics.writing import typical_users, writing_by_cluster
from gavamoe.pipeline.diagnose import diagnose_run
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.word_gain import WordCounts


@pytest.fixture(scope="module")
def diagnosis(run_path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("diagnosis")
    return out, diagnose_run(run_path, out)


def blobs() -> tuple[np.ndarray, np.ndarray]:
    label = np.arange(90) % 3
    return np.random.default_rng(0).normal(size=(90, 2)) + 20 * np.eye(3)[label][:, :2], label


def test_separate_groups_have_a_high_silhouette_and_random_ones_do_not():
    vectors, label = blobs()
    users = np.arange(90)
    silhouette, davies_bouldin = separation(vectors, label, users, 0)
    assert silhouette > 0.7
    assert davies_bouldin < 0.5
    silhouette, davies_bouldin = separation(vectors, np.random.default_rng(1).integers(0, 3, 90), users, 0)
    assert silhouette < 0.05
    assert davies_bouldin > 3


def test_sparse_vectors_have_the_figures_of_dense_ones():
    vectors, label = blobs()
    dense, users = separation(vectors, label, np.arange(90), 0), np.arange(90)
    assert separation(sparse.csr_matrix(vectors), label, users, 0) == pytest.approx(dense)


def test_one_cluster_and_equal_vectors_have_no_figures():
    vectors, label = blobs()
    assert separation(vectors, label * 0, np.arange(90), 0) == (None, None)
    assert separation(vectors * 0, label, np.arange(90), 0)[1] is None


def test_stability_is_1_for_a_fixed_clustering_and_0_for_a_random_one():
    vectors, label = blobs()
    fixed = UserClustering("fixed", vectors, label, lambda rows, seed: label)
    assert bootstrap_stability(fixed, np.arange(90), 0) == 1
    drawn = UserClustering("drawn", vectors, label, lambda rows, seed: np.random.default_rng(seed).integers(0, 3, 90))
    assert bootstrap_stability(drawn, np.arange(90), 0) == pytest.approx(0, abs=0.05)
    single = UserClustering("single", vectors, label * 0, lambda rows, seed: label * 0)
    assert bootstrap_stability(single, np.arange(90), 0) is None


def test_equal_posteriors_have_no_information_and_distant_ones_have_some():
    model = PreferenceModel(users=30, items=5, levels=5, clusters=2, latent=4, embedding=4, hidden=4)
    users = np.arange(1, 31)
    spread = posterior_information(model, users)
    model.encoder.user.offset.weight.data.mul_(100)
    assert posterior_information(model, users) > spread
    model.encoder.user.offset.weight.data.zero_()
    assert posterior_information(model, users) == pytest.approx(0, abs=1e-5)


def test_words_of_a_cluster_are_those_that_it_uses_more():
    users = pl.DataFrame({"user_id": [1, 2, 3], "user": ["ann", "bob", "cem"], "n_train": [20, 30, 1]})
    catalog = Catalog(users, pl.DataFrame(), pl.DataFrame(), RatingScale(5, (1.0, 2.0, 3.0, 4.0, 5.0)))
    texts = ["lol so good!!"] * 40 + ["one may argue at length"] * 40 + ["lol rareword"]
    counts = WordCounts.of(texts, ["so"])
    profile = np.array([[0.5, 0.5], [0.9, 0.1], [0.2, 0.8], [1.0, 0.0]])
    first, second = writing_by_cluster(counts, np.array([0] * 40 + [1] * 40 + [0]), catalog, profile)
    assert set(first.words) == {"lol", "so", "good"}
    assert set(second.words) == {"one", "may", "argue", "at", "length"}
    assert first.length == pytest.approx(122 / 41)
    assert second.length == 5
    assert first.typical_users == ["ann", "bob"]
    assert second.typical_users == ["bob", "ann"]


def test_typical_users_have_a_few_reviews_unless_nobody_has():
    users = pl.DataFrame({"user_id": [1, 2], "user": ["ann", "bob"], "n_train": [1, 1]})
    catalog = Catalog(users, pl.DataFrame(), pl.DataFrame(), RatingScale(5, (1.0, 2.0, 3.0, 4.0, 5.0)))
    assert typical_users(catalog, np.array([1.0, 0.3, 0.6])) == ["bob", "ann"]


def test_the_map_of_a_single_cluster_has_the_directions_of_largest_variance():
    rng = np.random.default_rng(0)
    latent = np.stack([rng.normal(0, scale, 500) for scale in (0.1, 5, 0.1, 2)], axis=1)
    found = LatentMap.fit(latent, np.zeros(500, dtype=int))
    assert np.abs(found.axes).argmax(0).tolist() == [1, 3]
    assert found.points.std(0) == pytest.approx([1, 1])


def test_all_clusterings_are_compared_and_random_clusters_say_nothing(diagnosis):
    _, found = diagnosis
    names = [row["clustering"] for row in found["comparison"]]
    assert (names[0], names[-1], len(names)) == (RUN, RANDOM, 5)
    gain = {row["clustering"]: row["text_gain"] for row in found["comparison"]}
    assert gain[RUN] > gain[RANDOM]
    assert abs(gain[RANDOM]) < 0.01
    assert found["comparison"][-1]["silhouette"] < found["comparison"][0]["silhouette"]


def test_the_files_hold_the_same_figures(diagnosis):
    out, found = diagnosis
    assert json.loads((out / "diagnosis.json").read_text()) == json.loads(json.dumps(found))
    clusters = json.loads((out / "clusters.json").read_text())
    assert clusters == {name: found[name] for name in clusters}
    assert {"words", "length", "typical_users", "genres", "likes"} <= clusters["clusters"][0].keys()


class _Tags(HTMLParser):
    """Collects the addresses that a page asks for, and checks that its tags are closed in order."""

    VOID = frozenset({"meta", "link", "img", "br", "input", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_names_every_check_and_needs_no_network(diagnosis):
    out, found = diagnosis
    page = (out / "report.html").read_text()
    tags = _Tags()
    tags.feed(page)
    assert tags.open == []
    assert all(address.startswith(("#", "data:")) for address in tags.addresses)
    assert not re.search(r"<script|@import|url\((?!#|data:)", page)
    for check in found["checks"]:
        assert check["name"].replace("_", " ").capitalize() in page
        assert check["reason"][1:40] in page
    assert "prefers-color-scheme: dark" in page


def test_names_in_the_data_are_text_on_the_page(rating_run_path, tmp_path):
    from gavamoe.diagnostics.page import write_page
    from gavamoe.pipeline.diagnose import diagnosis_of
    from gavamoe.pipeline.diagnosed_run import DiagnosedRun

    subject = DiagnosedRun.open(rating_run_path)
    found = diagnosis_of(subject)
    found["clusters"][0]["words"] = ["<script>alert(1)</script>"]
    write_page(tmp_path / "report.html", found, *subject.mapped_pairs())
    page = (tmp_path / "report.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
