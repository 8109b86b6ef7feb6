"""Learning the features of a corpus: double propagation (Qiu et al., 2011) over two surface patterns.

Words that opinions are said of are features, and words said of features are opinions. Starting from general opinions
(great, dull), two patterns stand in for a parser:

    attributive   great acting ,            an opinion, then a noun that ends its phrase
    predicative   the acting is very great  a noun, a form of be, perhaps a degree, then the opinion

and a third says that features come in company (the acting and plot): a noun beside a feature is likely one.

What keeps the growth honest is how each word behaves in the corpus as a whole: nouns stand between a determiner and the
end of their phrase, adjectives after degrees (very, so); names are written with a capital; and words for the reviewed
thing itself (this film, a comedy) are told from what it has (the acting, its plot) by their determiners.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from gavamoe.features.extractor import FeatureExtractor
from gavamoe.features.lexicon import BE, CLOSED, CLOSERS, DEGREES, DETERMINERS, POSSESSIVES, SHELL_NOUNS
from gavamoe.features.opinion_words import SEEDS
from gavamoe.features.token_corpus import TokenCorpus

# The features of a corpus are its frequent words: more text than this finds the same ones.
MOST_WORDS = 2_000_000
ROUNDS = 4
FEWEST_TOLD = 3
# An aspect is a subject of opinions ("the pace is slow"), which counts more than standing after an adjective does; the
# nouns that films and hotels are about (war, death) have opinions beside them far less often.
PREDICATIVE_WEIGHT, COMPANY_WEIGHT = 3, 3
STRENGTH = 0.08
# Set phrases (out the window, gritted teeth) repeat one word; what is truly judged is told different things, whose
# number grows about with the root of the word's occurrences.
DIFFERENT = 0.6
PLAIN_STRENGTH = 0.4  # of a word that hardly stands without an opinion (fast delivery), two of them will do
MOST_DIFFERENT = 0.05  # where few words of opinion are used at all, this share of them will do
# Shares of a word's occurrences that tell its class; docs/data.md shows what they let through.
NOUN_SHARE = 0.05
NOUN_ENDS_SHARE = 0.4
ADJECTIVE_SHARE = 0.02
NAME_SHARE = 0.5
PARTICIPLE_SHARE = 0.1
# An item has features and is something else: "the acting", but "this comedy" and "a comedy".
DEFINITE_SHARE = 0.36
THIS_SHARE = 0.12
# Reviews that begin with "A gripping journey" name the item: journey is what it is.
NAMING_SHARE = 0.2
FEW = 1.5  # a word seen with fewer determiners than this gets the benefit of the doubt
# A learned opinion must move the rating by this many standard errors, or it is no opinion.
CLEAR = 1.5


def mine_features(texts: pl.Series, ratings: pl.Series) -> FeatureExtractor | None:
    """Learn features and opinions from reviews.

    Args:
        texts: [n] training reviews; of many, a sample of MOST_WORDS words is enough.
        ratings: [n] their ratings; they decide whether a learned opinion praises or complains.

    Returns:
        The extractor, or None where the texts speak of no feature.
    """
    if texts.is_empty():
        return None
    corpus = TokenCorpus.from_texts(texts)
    sentiment = _sentiment(corpus, ratings)
    seed = corpus.those(SEEDS)
    noun = _nouns(corpus, seed) & _possessed(corpus) & ~seed
    adjective = _adjectives(corpus) & (sentiment != 0)
    opinion, feature, strength = seed, np.zeros_like(noun), np.zeros(len(noun))
    for _ in range(ROUNDS):
        strength = _strength(corpus, noun & ~opinion, opinion, feature)
        feature = strength >= STRENGTH
        opinion = opinion | (_said(corpus, feature, adjective) & ~feature)
    if not feature.any():
        return None
    weights = dict(zip(corpus.names_of(feature), np.minimum(strength[feature], 1).round(4).tolist(), strict=True))
    signs = zip(corpus.names_of(opinion), sentiment[opinion], strict=True)
    return FeatureExtractor(weights, {name: SEEDS.get(name, int(sign)) for name, sign in signs}, learned=True)


def _nouns(corpus: TokenCorpus, opinion: np.ndarray) -> np.ndarray:
    """Mark the words that stand between a determiner (or an opinion) and the end of a phrase, but no names."""
    open_run = (corpus.those(DETERMINERS) | opinion)[corpus.before]
    closed = _closers(corpus)[corpus.after(1)]
    inside = corpus.share(open_run & closed)
    ends = inside >= NOUN_ENDS_SHARE * corpus.share(open_run)
    after_degree = corpus.share(corpus.those(DEGREES)[corpus.before])
    adverbs = np.append(corpus.names.str.ends_with("ly").to_numpy(), False)
    participle = corpus.share(adverbs[corpus.before]) >= PARTICIPLE_SHARE  # perfectly paced
    name = corpus.share(corpus.capital) >= NAME_SHARE
    return (
        (inside >= NOUN_SHARE)
        & ends
        & (inside > after_degree)
        & ~participle
        & ~name
        & ~corpus.those(CLOSED | SHELL_NOUNS)
    )


def _possessed(corpus: TokenCorpus) -> np.ndarray:
    """Mark what items have rather than are: said with "the" and "its" much as with "a", hardly with "this"."""
    determiners = (POSSESSIVES, frozenset({"a", "an"}), frozenset({"this"}))
    the, a, this = (_determined_by(corpus, words) for words in determiners)
    definite = the + FEW >= DEFINITE_SHARE * (the + a + this + FEW)
    itself = this > THIS_SHARE * (the + this) + 1
    itself |= _names_the_item(corpus) > NAMING_SHARE * (_names_the_item(corpus) + the) + 1
    plurals = {plural for name in corpus.names_of(itself) for plural in (f"{name}s", f"{name}es", f"{name[:-1]}ies")}
    return definite & ~itself & ~corpus.those(plurals)


def _names_the_item(corpus: TokenCorpus) -> np.ndarray:
    """Count how often each word ends a phrase that opens a sentence, of "a" and up to two more; [n_names + 1]."""
    opens = corpus.those({"a", "an"})[corpus.word] & (corpus.before == corpus.EDGE)
    last = _closers(corpus)[corpus.after(1)]
    named = np.zeros(len(last), dtype=bool)
    for distance in (1, 2, 3):
        named[distance:] |= opens[:-distance] & (corpus.segment[distance:] == corpus.segment[:-distance])
    return corpus.count(corpus.word[named & last])


def _determined_by(corpus: TokenCorpus, words: frozenset[str]) -> np.ndarray:
    """Count how often each word follows one of the determiners, directly or with one word between; [n_names + 1]."""
    determiner, before = corpus.those(words), corpus.before
    between = ~(_closers(corpus) | corpus.those(DETERMINERS | {"this"}))[before]
    return corpus.count(corpus.word[determiner[before] | (determiner[corpus.back(2)] & between)])


def _adjectives(corpus: TokenCorpus) -> np.ndarray:
    """Mark the words that degrees are said of, and that do not end a phrase as nouns do."""
    degree, determiner = corpus.those(DEGREES)[corpus.before], corpus.those(DETERMINERS)[corpus.before]
    inside = corpus.share(determiner & _closers(corpus)[corpus.after(1)])
    name = corpus.share(corpus.capital) >= NAME_SHARE  # the very American
    return (corpus.share(degree) >= np.maximum(ADJECTIVE_SHARE, inside)) & ~name & ~corpus.those(CLOSED)


def _closers(corpus: TokenCorpus) -> np.ndarray:
    closers = corpus.those(CLOSERS)
    closers[corpus.EDGE] = True
    return closers


def _strength(corpus: TokenCorpus, noun: np.ndarray, opinion: np.ndarray, feature: np.ndarray) -> np.ndarray:
    """Return how much is told of each noun, per occurrence; 0 where too little, or the same again; [n_names + 1]."""
    attributive, predicative, by_degree = _patterns(corpus, noun, opinion)
    before, after = _coordinated(corpus, noun, feature)
    word, one, two = corpus.word, corpus.after(1), corpus.after(2)
    told = [
        (one[attributive], word[attributive], 1),
        (word[predicative], two[predicative], PREDICATIVE_WEIGHT),
        (word[by_degree], corpus.after(3)[by_degree], PREDICATIVE_WEIGHT),
        (word[after], corpus.back(2)[after], COMPANY_WEIGHT),
        (word[before], two[before], COMPANY_WEIGHT),
    ]
    nouns = np.concatenate([nouns for nouns, _, _ in told])
    others = np.concatenate([others for _, others, _ in told])
    weights = np.concatenate([np.full(len(nouns), weight) for nouns, _, weight in told])
    different = corpus.count(np.unique(np.stack([nouns, others]), axis=1)[0])
    expected = np.minimum(DIFFERENT * np.sqrt(corpus.counts), MOST_DIFFERENT * len(np.unique(others)) // 1)
    strength = corpus.count(nouns, weights) / np.maximum(corpus.counts, 1)
    enough = (different >= expected) | ((strength >= PLAIN_STRENGTH) & (different > 1))
    return np.where(enough & (corpus.count(nouns) >= FEWEST_TOLD), strength, 0.0)


def _coordinated(corpus: TokenCorpus, noun: np.ndarray, feature: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mark the nouns before "and" and a feature, and those behind; two bool [n_words]."""
    both, closers = corpus.those({"and"}), _closers(corpus)
    before = noun[corpus.word] & both[corpus.after(1)] & feature[corpus.after(2)] & closers[corpus.after(3)]
    after = noun[corpus.word] & both[corpus.before] & feature[corpus.back(2)] & closers[corpus.after(1)]
    return before, after


def _said(corpus: TokenCorpus, feature: np.ndarray, adjective: np.ndarray) -> np.ndarray:
    """Mark the adjectives that are said of features, and of enough different ones, to be opinions; bool [n_names + 1].

    One that goes with a single feature, as in special effects, is part of its name.
    """
    attributive, predicative, by_degree = _patterns(corpus, feature, adjective)
    adjectives = (corpus.word[attributive], corpus.after(2)[predicative], corpus.after(3)[by_degree])
    nouns = (corpus.after(1)[attributive], corpus.word[predicative], corpus.word[by_degree])
    pairs = np.stack([np.concatenate(adjectives), np.concatenate(nouns)])
    said, different = corpus.count(pairs[0]), corpus.count(np.unique(pairs, axis=1)[0])
    expected = np.minimum(DIFFERENT * np.sqrt(said), MOST_DIFFERENT * feature.sum())
    return (said >= FEWEST_TOLD) & (different >= expected)


def _patterns(corpus: TokenCorpus, noun: np.ndarray, opinion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mark where the patterns begin: opinion noun; noun be opinion; noun be degree opinion; three bool [n_words]."""
    be, degree = corpus.those(BE), corpus.those(DEGREES)
    word, one, two, three = corpus.word, corpus.after(1), corpus.after(2), corpus.after(3)
    attributive = opinion[word] & noun[one] & _closers(corpus)[two]
    return attributive, noun[word] & be[one] & opinion[two], noun[word] & be[one] & degree[two] & opinion[three]


def _sentiment(corpus: TokenCorpus, ratings: pl.Series) -> np.ndarray:
    """Return 1 or -1 for words whose texts are rated clearly higher or lower than the others, else 0; [n_names + 1]."""
    rating = ratings.to_numpy().astype(np.float64)
    deviation = corpus.count(corpus.word, weights=(rating - rating.mean())[corpus.row])
    error = max(rating.std(), 1e-9) * np.sqrt(np.maximum(corpus.counts, 1))
    return np.where(np.abs(deviation) >= CLEAR * error, np.sign(deviation), 0).astype(int)
