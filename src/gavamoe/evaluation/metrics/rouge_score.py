"""ROUGE as the rouge-score package computes it (without stemming), under separate names: means of F1, in percent.

Papers on summarisation report this form. It differs from the form of the field's tables (`rouge`): an n-gram counts as
often as it occurs, F1 weighs precision and recall equally, and words are runs of a-z and 0-9 in lower case. In a
language that is written with other letters too, those would be parts of words or nothing. There, words are those of
`gavamoe.words` that have a letter or a digit, and the conditions say so.

    F1 = 2 * matched / (n-grams predicted + n-grams of the reference);  rougeL: words and longest common subsequence
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import numpy as np

from gavamoe.evaluation.metrics.metric import Metric, mean_of
from gavamoe.evaluation.metrics.rouge import longest_common_subsequence
from gavamoe.evaluation.outputs import Outputs, Words, ngrams
from gavamoe.words import normalized_words

SOURCE = "Lin 2004, in the form of the rouge-score package, use_stemmer=False"
# Texts are of another alphabet if more of their words than this have other letters. English has 1 % (café, naïve),
# German and Spanish over 5 %.
MAX_OTHER_WORDS = 0.02
KINDS = ("rouge1", "rouge2", "rougeL")


def rouge_score_statistics(outputs: Outputs) -> np.ndarray:
    """Return F1 of rouge1, rouge2 and rougeL of each row, [n, 3]."""
    tokens = _tokenizer(outputs)
    pairs = zip(map(tokens, outputs.predictions), map(tokens, outputs.references), strict=True)
    return np.array([_row(*pair) for pair in pairs])


def conditions(outputs: Outputs) -> dict[str, str]:
    """Return which words are compared, if they are not those of the package."""
    if _tokenizer(outputs) is _tokens:
        return {}
    return {"rouge-score": "words with letters or digits of any script (the package knows a-z and 0-9 only)"}


def _row(prediction: Words, reference: Words) -> list[float]:
    scores = []
    for n in (1, 2):
        in_prediction, in_reference = Counter(ngrams(prediction, n)), Counter(ngrams(reference, n))
        matched = (in_prediction & in_reference).total()
        scores.append(_f1(matched, in_prediction.total(), in_reference.total()))
    common = longest_common_subsequence(prediction, reference)
    return [*scores, _f1(common, len(prediction), len(reference))]


def _f1(matched: int, predicted: int, reference: int) -> float:
    return 2 * matched / (predicted + reference) if matched else 0.0


def _tokenizer(outputs: Outputs) -> Callable[[Words], Words]:
    """Return the function that splits the texts: the package's, or that of other alphabets.

    The references alone decide, so that all systems on the same references are split alike.
    """
    words = [word for text in outputs.references for word in text if _is_word(word)]
    other = sum(any(letter.isalpha() and not letter.isascii() for letter in word) for word in words)
    return _words if other > MAX_OTHER_WORDS * len(words) else _tokens


def _is_word(word: str) -> bool:
    return any(letter.isalnum() for letter in word)


def _words(words: Words) -> Words:
    """Split a text into words of any script, without punctuation."""
    return [word for word in normalized_words(" ".join(words)) if _is_word(word)]


def _tokens(words: Words) -> Words:
    """Split a text as the rouge-score package does."""
    return re.findall("[a-z0-9]+", " ".join(words).lower())


def _metric(kind: str, column: int) -> Metric:
    return Metric(f"rouge-score/{kind}", True, SOURCE, rouge_score_statistics, mean_of(column, factor=100))


METRICS = tuple(_metric(kind, column) for column, kind in enumerate(KINDS))
