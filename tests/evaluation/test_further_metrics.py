"""The metrics that the field's tables do not report follow their definitions."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from gavamoe.errors import InputError
from gavamoe.evaluation.metrics import coherence, hallucination, rouge_score, sacrebleu, surface
from gavamoe.evaluation.metrics.similarity import SimilarityModel
from gavamoe.evaluation.outputs import Outputs
from gavamoe.evaluation.row_scores import RowScores

PREDICTIONS = ["The pool was warm , warm and warm .", "", "kind staff", "It 's the best pool , the best !"]
REFERENCES = ["the pool was cold .", "quiet room", "Kind staff", "it is the best pool in the city"]


def scored(metrics, predictions=PREDICTIONS, references=REFERENCES, **columns):
    split = [[text.split() for text in texts] for texts in (predictions, references)]
    return RowScores(Outputs(*split, **columns), metrics).overall()


def test_length_and_rep_2_are_computed_per_text():
    result = scored(surface.METRICS, ["a b a b", "", "c", "a b c d e"], [""] * 4)
    assert result["length"] == 10 / 4
    # One bigram of three repeats in the first text, none of four in the last; the others have none.
    assert result["rep-2"] == pytest.approx(100 * (1 / 3 + 0) / 2)


def test_a_feature_without_support_in_the_items_reviews_is_a_hallucination():
    columns = {"feature_set": ["pool", "staff", "bar"], "item_features": [{"pool"}, set(), {"bar"}, {"pool", "bar"}]}
    assert scored(hallucination.METRICS, **columns) == {"feature hallucination": 1 / 3}
    assert scored(hallucination.METRICS, feature_set=["pool"]) == {"feature hallucination": None}


def test_rouge_score_counts_every_occurrence_of_lowercased_words():
    result = scored(rouge_score.METRICS, ["The THE cat !"], ["the cat-flap"])
    assert result["rouge-score/rouge1"] == pytest.approx(100 * 2 * 2 / (3 + 3))
    assert result["rouge-score/rougeL"] == pytest.approx(100 * 2 * 2 / (3 + 3))


def test_rouge_score_equals_the_package():
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(list(rouge_score.KINDS))
    rows = [scorer.score(reference, text) for text, reference in zip(PREDICTIONS, REFERENCES, strict=True)]
    for name, value in scored(rouge_score.METRICS).items():
        assert value == pytest.approx(100 * np.mean([row[name.split("/")[1]].fmeasure for row in rows]))


def test_sacrebleu_from_row_statistics_equals_the_corpus_score():
    metrics = pytest.importorskip("sacrebleu.metrics")
    expected = metrics.BLEU().corpus_score(PREDICTIONS, [REFERENCES]).score
    assert scored(sacrebleu.METRICS)["sacrebleu"] == pytest.approx(expected)


def test_the_error_without_sacrebleu_names_the_extra_to_install(monkeypatch):
    monkeypatch.setattr(sacrebleu, "is_available", lambda: False)
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(InputError, match="eval"):
        scored(sacrebleu.METRICS)


def texts_with_sentiment(rows=400):
    """Texts whose words follow their rating, and the ratings."""
    rng = np.random.default_rng(0)
    ratings = rng.integers(1, 6, rows)
    good, bad = np.array(["warm", "kind", "great", "clean"]), np.array(["cold", "rude", "dull", "dirty"])
    texts = [
        " ".join(np.where(rng.random(8) < (rating - 1) / 4, rng.choice(good, 8), rng.choice(bad, 8)))
        for rating in ratings
    ]
    return texts, ratings.astype(float)


def test_coherence_is_high_for_matching_ratings_and_low_for_shuffled_ones():
    texts, ratings = texts_with_sentiment()
    fitting = scored(coherence.METRICS, texts, texts, predicted=ratings, true=ratings)["rating coherence"]
    shuffled = np.random.default_rng(1).permutation(ratings)
    unfit = scored(coherence.METRICS, texts, texts, predicted=shuffled, true=ratings)["rating coherence"]
    opposite = scored(coherence.METRICS, texts, texts, predicted=6 - ratings, true=ratings)["rating coherence"]
    assert fitting > 0.8
    assert abs(unfit) < 0.2
    assert opposite == pytest.approx(-fitting)


def test_rows_without_a_reference_do_not_teach_coherence_what_ratings_sound_like():
    texts, ratings = texts_with_sentiment()
    silent = [""] * 300
    alone = scored(coherence.METRICS, texts, texts, predicted=ratings, true=ratings)
    beside = scored(
        coherence.METRICS,
        [*silent, *texts],
        [*silent, *texts],
        predicted=np.concatenate([np.full(300, np.nan), ratings]),
        true=np.concatenate([np.full(300, 5.0), ratings]),
    )
    assert beside["rating coherence"] == pytest.approx(alone["rating coherence"])


def test_coherence_is_undefined_for_a_constant_rating_or_few_rows():
    texts, ratings = texts_with_sentiment()
    constant = scored(coherence.METRICS, texts, texts, predicted=np.full(len(texts), 3.3), true=ratings)
    few = scored(coherence.METRICS, texts[:20], texts[:20], predicted=ratings[:20], true=ratings[:20])
    assert constant == few == {"rating coherence": None}


def test_coherence_scores_a_text_without_its_own_reference():
    # Random ratings and references that share words at random: only a model fitted on the reference knows its rating.
    rng = np.random.default_rng(0)
    texts = [f"word{row % 150} part{row * 7 % 150} common" for row in range(300)]
    ratings = rng.integers(1, 6, 300).astype(float)
    result = scored(coherence.METRICS, texts, texts, predicted=ratings, true=ratings)["rating coherence"]
    assert abs(result) < 0.2


@pytest.fixture(scope="module")
def model_directory(tmp_path_factory) -> Path:
    """A tiny untrained model with its tokenizer, as any local model directory."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = sorted({word for text in PREDICTIONS + REFERENCES for word in text.split()} | {"."})
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    path = tmp_path_factory.mktemp("model")
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(path)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(vocabulary), **shape)).save_pretrained(path)
    return path


def test_equal_texts_have_similarity_100_and_an_empty_text_0(model_directory):
    metrics = SimilarityModel(model_directory).metrics
    same = scored(metrics, ["kind staff", "the pool"], ["kind staff", "the pool"])
    assert same == pytest.approx({"similarity": 100, "bertscore/f": 100}, abs=1e-3)
    half = scored(metrics, ["kind staff", ""], ["kind staff", "the pool"])
    assert half == pytest.approx({"similarity": 50, "bertscore/f": 50}, abs=1e-3)
    assert scored(metrics)["bertscore/f"] < 90


def test_similarity_does_not_depend_on_the_batch(model_directory, monkeypatch):
    model = SimilarityModel(model_directory)
    together = scored(model.metrics)
    monkeypatch.setattr("gavamoe.evaluation.metrics.similarity.BATCH", 1)
    assert scored(model.metrics) == pytest.approx(together, abs=1e-3)


def test_a_directory_without_a_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"config\.json"):
        SimilarityModel(tmp_path)


def test_rouge_score_splits_all_systems_on_the_same_references_alike():
    references, plain = ["a good film"] * 40, ["a cafe good film"] * 40
    accented = ["a café good film", *plain[1:]]
    scores = [rouge_score.conditions(Outputs.from_texts(texts, references)) for texts in (plain, accented, ["é"] * 40)]
    assert scores == [{}, {}, {}]
