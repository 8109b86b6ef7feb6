"""Metrics of texts in other languages: overlap counts by characters, and the conditions say what a word is."""

from __future__ import annotations

import json

import pytest

from gavamoe.evaluation.outputs import Outputs
from gavamoe.evaluation.report import Report, write_report
from gavamoe.evaluation.row_scores import RowScores
from gavamoe.evaluation.score import further_conditions, further_metrics, score_texts
from gavamoe.evaluation.score_file import score_file

PAIRS = {
    "zh": [("早餐非常好吃", "早餐非常丰富"), ("房间很干净服务很好", "房间很干净位置很好")],
    "ja": [("料理がとても美味しい", "料理がとても美味しくない"), ("部屋は清潔で広い", "部屋は清潔で静か")],
    "th": [("อาหารอร่อยมาก", "อาหารไม่อร่อย"), ("ห้องสะอาดดี", "ห้องสะอาดมาก")],
}


def write_pairs(path, pairs):
    lines = [json.dumps({"prediction": text, "reference": truth}) for text, truth in pairs]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("language", PAIRS)
def test_texts_that_share_most_characters_get_credit_and_the_choice_is_stated(tmp_path, language, normalized):
    result = score_file(write_pairs(tmp_path / "p.jsonl", PAIRS[language]), normalized=normalized)
    assert 50 < result["metrics"]["BLEU-1"] < 95
    assert 50 < result["metrics"]["rouge_l/f_score"] < 95
    assert 50 < result["further"]["rouge-score/rouge1"] < 95
    assert "each character is a word" in result["conditions"]["normalization"]
    assert "any script" in result["conditions"]["rouge-score"]
    assert "tokenize zh" in result["conditions"]["sacrebleu"]


def test_segmented_texts_keep_their_words_as_given(tmp_path):
    pairs = [("剧情 很 好看 。", "剧情 不 好看 。"), ("演员 不错 值得 一看", "演员 不错 不会 再看")]
    result = score_file(write_pairs(tmp_path / "p.jsonl", pairs))
    assert result["metrics"]["BLEU-1"] == pytest.approx(100 * 5 / 8)
    assert "blanks between words" in result["conditions"]["normalization"]


def test_english_conditions_stay_as_they_were(tmp_path):
    result = score_file(write_pairs(tmp_path / "p.jsonl", [("a fine café", "a fine film")] * 40 + [("no", "no")] * 40))
    assert result["conditions"]["normalization"] == "as given, split on white space"
    english = Outputs.from_texts(["a fine film with a naïve heart"] * 9 + ["it"] * 9, ["the acting is superb"] * 18)
    assert further_conditions(Outputs.from_texts(["a fine film"] * 9, ["the acting"] * 9)) == {}
    assert "sacrebleu" not in further_conditions(english)


def test_sacrebleu_equals_its_own_chinese_tokenizer():
    sacrebleu = pytest.importorskip("sacrebleu")
    texts, truths = zip(
        *[(f"{text}，值得再来看一看。", f"{truth}，值得再来。") for text, truth in PAIRS["zh"]], strict=True
    )
    ours = RowScores(Outputs.from_texts(texts, truths), further_metrics()).overall()["sacrebleu"]
    assert ours == pytest.approx(sacrebleu.corpus_bleu(texts, [truths], tokenize="zh").score)


@pytest.mark.parametrize(
    ("text", "truth"),
    [("Schöne Größe", "schöne größe"), ("الطعام لذيذ", "الطعام لذيذ"), ("Очень вкусно", "очень вкусно")],
)
def test_rouge_score_compares_whole_words_of_other_alphabets(text, truth):
    scores = RowScores(Outputs.from_texts([text], [truth]), further_metrics()).overall()
    assert scores["rouge-score/rouge1"] == 100


def test_chinese_features_are_named_by_chinese_texts():
    scores = score_texts(["我喜欢剧情"], ["剧情很好"], ["剧情"], ["剧情", "音乐"])
    assert (scores["FMR"], scores["FCR"]) == (1.0, 0.5)


def test_a_report_quotes_each_language_in_its_own_direction(tmp_path):
    example = {"text": "القصة مشوقة", "user": "u", "item": "i", "cluster": 0, "rating": 4.0, "true_rating": None}
    report = Report(
        title="t",
        facts={},
        systems={"run": {"BLEU-1": 1.0}},
        conditions={
            "n": 1,
            "rating": "none",
            "feature": "none",
            "oracle": False,
            "normalization": "",
            "truncate_words": 1,
        },
        examples=[{**example, "reference": "رائع"}],
        language="ar",
    )
    write_report(tmp_path / "report.html", report)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert '<blockquote dir="auto" lang="ar">القصة مشوقة</blockquote>' in page
    assert '<bdi dir="auto" lang="ar">رائع</bdi>' in page
