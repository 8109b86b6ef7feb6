"""Learning the features of a corpus: double propagation (Qiu et al., 2011) over two surface patterns.

Words that opinions are said of are features, and words said of features are opinions. Starting from general opinions
(great, dull), two patterns stand in for a parser:

    attributive   great acting ,            an opinion, then a noun that ends its phrase
    predicative   the acting is very great  a noun, a form of be, perhaps a degree, then the opinion

What keeps the growth honest is how each word behaves in the corpus as a whole: nouns stand between a determiner and the
end of their phrase, adjectives after degrees (very, so); names are written with a capital; and words for the reviewed
thing itself (this film, a comedy) are told from what it has (the acting, its plot) by their determiners.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from gavamoe.data.corpus import Corpus
from gavamoe.data.features import FeatureExtractor
from gavamoe.data.opinion_words import SEEDS
from gavamoe.data.words import BE, CLOSED, CLOSERS, DEGREES, DETERMINERS, POSSESSIVES

# The features of a corpus are its frequent words: more texts than these find the same ones.
MOST_TEXTS = 100_000
ROUNDS = 3
FEWEST_TOLD = 3
TOLD_SHARE = 0.01
# Shares of a word's occurrences that tell its class; docs/data.md shows what they let through.
NOUN_SHARE = 0.05
NOUN_ENDS_SHARE = 0.4
ADJECTIVE_SHARE = 0.02
NAME_SHARE = 0.5
# An item has features and is something else: "the acting", but "this comedy" and "a comedy".
DEFINITE_SHARE = 0.5
THIS_SHARE = 0.12
FEW = 3  # a word seen with fewer determiners than this gets the benefit of the doubt
# A learned opinion must move the rating by this many standard errors, or it is no opinion.
CLEAR = 1.5


def mine_features(texts: pl.Series, ratings: pl.Series) -> FeatureExtractor | None:
    """Learn features and opinions from reviews.

    Args:
        texts: [n] training reviews; of many, a sample of MOST_TEXTS is enough.
        ratings: [n] their ratings; they decide whether a learned opinion praises or complains.

    Returns:
        The extractor, or None where the texts speak of no feature.
    """
    if texts.is_empty():
        return None
    corpus = Corpus.of(texts)
    sentiment = _sentiment(corpus, ratings)
    seed = corpus.those(SEEDS)
    noun = _nouns(corpus, seed) & _possessed(corpus) & ~seed
    adjective = _adjectives(corpus) & (sentiment != 0)
    opinion, feature = seed, np.zeros_like(noun)
    for _ in range(ROUNDS):
        told, _ = _pairs(corpus, noun & ~opinion, opinion)
        feature = told >= np.maximum(FEWEST_TOLD, TOLD_SHARE * corpus.counts)
        _, said = _pairs(corpus, feature, adjective)
        opinion = opinion | ((said >= FEWEST_TOLD) & ~feature)
    if not feature.any():
        return None
    polarity = {
        name: SEEDS.get(name, int(sign))
        for name, sign in zip(corpus.names_of(opinion), sentiment[opinion], strict=True)
    }
    return FeatureExtractor(_rarity(corpus, feature), polarity)


def _nouns(corpus: Corpus, opinion: np.ndarray) -> np.ndarray:
    """Mark the words that stand between a determiner (or an opinion) and the end of a phrase, but no names."""
    opened = (corpus.those(DETERMINERS) | opinion)[corpus.before]
    closed = _closers(corpus)[corpus.after(1)]
    inside = corpus.share(opened & closed)
    ends = inside >= NOUN_ENDS_SHARE * corpus.share(opened)
    after_degree = corpus.share(corpus.those(DEGREES)[corpus.before])
    name = corpus.share(corpus.capital) >= NAME_SHARE
    return (inside >= NOUN_SHARE) & ends & (inside > after_degree) & ~name & ~corpus.those(CLOSED)


def _possessed(corpus: Corpus) -> np.ndarray:
    """Mark what items have rather than are: said with "the" and "its" more than with "a", and hardly with "this"."""
    the, a, this = (
        corpus.count(corpus.word[corpus.those(words)[corpus.before]]) for words in (POSSESSIVES, {"a", "an"}, {"this"})
    )
    definite = the + FEW >= DEFINITE_SHARE * (the + a + this + FEW)
    itself = this > THIS_SHARE * (the + this) + 1
    plurals = {plural for name in corpus.names_of(itself) for plural in (f"{name}s", f"{name}es", f"{name[:-1]}ies")}
    return definite & ~itself & ~corpus.those(plurals)


def _adjectives(corpus: Corpus) -> np.ndarray:
    """Mark the words that degrees are said of, and that do not end a phrase as nouns do."""
    degree, determiner = corpus.those(DEGREES)[corpus.before], corpus.those(DETERMINERS)[corpus.before]
    inside = corpus.share(determiner & _closers(corpus)[corpus.after(1)])
    return (corpus.share(degree) >= np.maximum(ADJECTIVE_SHARE, inside)) & ~corpus.those(CLOSED)


def _closers(corpus: Corpus) -> np.ndarray:
    closers = corpus.those(CLOSERS)
    closers[corpus.EDGE] = True
    return closers


def _pairs(corpus: Corpus, feature: np.ndarray, opinion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count how often each word is the feature, and the opinion, of a pattern; two arrays [n_names + 1]."""
    closes = _closers(corpus)
    be, degree = corpus.those(BE), corpus.those(DEGREES)
    word, one, two, three = corpus.word, corpus.after(1), corpus.after(2), corpus.after(3)
    attributive = opinion[word] & feature[one] & closes[two]
    predicative = feature[word] & be[one] & opinion[two]
    by_degree = feature[word] & be[one] & degree[two] & opinion[three]
    of = corpus.count(one[attributive]) + corpus.count(word[predicative | by_degree])
    said = corpus.count(word[attributive]) + corpus.count(two[predicative]) + corpus.count(three[by_degree])
    return of, said


def _rarity(corpus: Corpus, feature: np.ndarray) -> dict[str, float]:
    """Weigh each feature from 0 (the most frequent) to 1 (found once) by the logarithm of its count."""
    counts = corpus.counts[feature]
    weights = 1 - np.log(counts) / max(np.log(counts.max()), 1e-9)
    return dict(zip(corpus.names_of(feature), np.round(weights, 4).tolist(), strict=True))


def _sentiment(corpus: Corpus, ratings: pl.Series) -> np.ndarray:
    """Return 1 or -1 for words whose texts are rated clearly higher or lower than the others, else 0; [n_names + 1]."""
    rating = ratings.to_numpy().astype(np.float64)
    deviation = corpus.count(corpus.word, weights=(rating - rating.mean())[corpus.row])
    error = max(rating.std(), 1e-9) * np.sqrt(np.maximum(corpus.counts, 1))
    return np.where(np.abs(deviation) >= CLEAR * error, np.sign(deviation), 0).astype(int)
