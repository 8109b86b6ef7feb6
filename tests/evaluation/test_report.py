"""The report page is self-contained, states its conditions, marks the best values and escapes texts."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from gavamoe.evaluation import plots
from gavamoe.evaluation.report import Report, metric_rows, write_report

CONDITIONS = {
    "n": "10",
    "rating": "predicted",
    "feature": "none",
    "oracle": False,
    "normalization": "lowercase",
    "truncate_words": 20,
}
SYSTEMS = {"GaVaMoE": {"BLEU-4": 1.5, "RMSE": 0.7, "FMR": None}, "other": {"BLEU-4": 1.2, "RMSE": 0.6, "FMR": 0.1}}
MINIMAL = Report("A run", {"data": "invented"}, SYSTEMS, CONDITIONS)
RECORDS = {
    "preference": [
        {"phase": phase, "train_loss": 1 / n, "valid_objective": 1.1 / n, "valid_rmse": 0.9}
        for n, phase in enumerate(["pretrain", "pretrain", "joint"], start=1)
    ],
    "explainer": [{"epoch": 0.5, "loss": 3.0}, {"epoch": 1.0, "loss": 2.0}, {"epoch": 1.0, "eval_loss": 2.2}],
}


AXES = ("linear discriminant 1", "linear discriminant 2")


def pictures() -> list[tuple[str, str, str]]:
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=60)
    figures = (
        plots.latent_map(rng.normal(size=(60, 2)), {"clusters found": labels, "true groups": labels}, AXES),
        plots.loss_curves(RECORDS),
        plots.expert_usage(rng.dirichlet(np.ones(4), (3, 2))),
    )
    return [(f"picture {place}", "description", plots.to_svg(figure)) for place, figure in enumerate(figures)]


@pytest.fixture
def page(tmp_path: Path) -> str:
    example = {
        "text": "nice <b>",
        "user": "u",
        "item": "i",
        "cluster": 1,
        "rating": 3.25,
        "true_rating": 4,
        "reference": "r",
    }
    report = replace(
        MINIMAL,
        intervals={"BLEU-4": (1.25, 1.75)},
        groups={"rating": {"5": {"n": 3, "metrics": SYSTEMS["GaVaMoE"]}}},
        examples=[example],
        clusters=[{"cluster": 0, "pairs": "7", "users": "3", "rating": 3.5, "genres": "Comedy", "features": "cast"}],
        pictures=pictures(),
    )
    write_report(tmp_path / "report.html", report)
    return (tmp_path / "report.html").read_text("utf-8")


def test_the_page_refers_to_no_external_resource(page: str) -> None:
    assert not re.findall(r"<(?:script|link|img|iframe)\b", page)
    for address in re.findall(r"(?:href|src)=\"([^\"]*)\"", page):
        assert address.startswith(("#", "data:"))


def test_every_section_is_there_and_every_tag_is_closed(page: str) -> None:
    class Tags(HTMLParser):
        void, open_tags = {"meta"}, []

        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in self.void:
                self.open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open_tags.pop() == tag

    parser = Tags()
    parser.feed(page)
    assert parser.open_tags == []
    for heading in ("Metrics</h2>", "Example explanations", "Clusters", "Metrics by group", "picture 2"):
        assert heading in page


def test_generated_texts_are_escaped(page: str) -> None:
    assert "nice &lt;b&gt;" in page


def test_figures_and_tables_have_accessible_labels(page: str) -> None:
    assert page.count('role="img" aria-label="picture') == 3
    assert page.count("<th scope=") == page.count("<th ")


def test_sections_without_content_are_left_out(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", MINIMAL)
    page = (tmp_path / "report.html").read_text("utf-8")
    for heading in ("Example explanations", "Clusters", "Metrics by group", "confidence interval"):
        assert heading not in page


def test_an_oracle_condition_is_stated(tmp_path: Path) -> None:
    for oracle in (True, False):
        write_report(tmp_path / "report.html", replace(MINIMAL, conditions={**CONDITIONS, "oracle": oracle}))
        assert ("Oracle" in (tmp_path / "report.html").read_text("utf-8")) == oracle


def test_the_best_value_is_marked_in_the_direction_of_its_metric() -> None:
    rows = {row["metric"]: row for row in metric_rows(SYSTEMS, {"BLEU-4": (1.25, 1.75)})}
    assert [cell["best"] for cell in rows["BLEU-4"]["cells"]] == [True, False]
    assert [cell["best"] for cell in rows["RMSE"]["cells"]] == [False, True]
    assert [cell["text"] for cell in rows["FMR"]["cells"]] == ["–", "0.100"]
    assert (rows["BLEU-4"]["arrow"], rows["RMSE"]["arrow"]) == ("↑", "↓")
    assert rows["BLEU-4"]["cells"][0]["interval"] == "1.25 to 1.75"
    assert "USR" not in rows


def test_equal_values_are_not_marked_as_best() -> None:
    (row,) = metric_rows({"one": {"USR": 1.0}, "other": {"USR": 1.0}})
    assert not any(cell["best"] for cell in row["cells"])


def test_figures_are_small_reproducible_svg_in_the_text_colour_of_the_page() -> None:
    for (_, _, first), (_, _, again) in zip(pictures(), pictures(), strict=True):
        ElementTree.fromstring(first)
        assert first == again
        assert "currentColor" in first
        assert len(first) < 300_000


def test_the_latent_map_is_also_written_as_png(tmp_path: Path) -> None:
    figure = plots.latent_map(np.zeros((3, 2)), {"clusters found": np.arange(3)}, AXES)
    plots.save_png(figure, tmp_path / "map.png")
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


def test_a_true_group_has_the_colour_of_the_cluster_that_holds_most_of_it() -> None:
    cluster, group = np.array([0, 0, 0, 1, 1, 2]), np.array([2, 2, 0, 0, 0, 1])
    figure = plots.latent_map(np.zeros((6, 2)), {"clusters found": cluster, "true groups": group}, AXES)
    colour_of = [
        {text.get_text(): to_hex(handle.get_facecolor()[0]) for text, handle in zip(legend.texts, handles, strict=True)}
        for legend in (axes.get_legend() for axes in figure.axes)
        for handles in [legend.legend_handles]
    ]
    assert [colour_of[1][label] for label in "201"] == [colour_of[0][label] for label in "012"]
    more = plots.latent_map(np.zeros((6, 2)), {"found": np.zeros(6, int), "true groups": group}, AXES)
    assert len({to_hex(handle.get_facecolor()[0]) for handle in more.axes[1].get_legend().legend_handles}) == 3
