"""Learn the features of a corpus by double propagation (Qiu et al., 2011) over surface patterns.

Words that opinion words modify are features, and words that modify features are opinion words. Starting from general
opinion words (great, dull), two patterns replace a dependency parser:

    attributive   great acting ,            an opinion word, then a noun that ends its phrase
    predicative   the acting is very great  a noun, a form of be, optionally a degree word, then an opinion word

A third pattern uses coordination (the acting and plot): a noun coordinated with a feature is probably a feature.

Corpus-wide statistics of each word limit the growth. Nouns stand between a determiner and the end of their phrase;
adjectives follow degree words (very, so); names are capitalised. Determiners separate words for the reviewed item
itself (this film, a comedy) from words for its aspects (the acting, its plot).
"""

from __future__ import annotations

import numpy as np
import polars as pl

from gavamoe.features.extractor import FeatureExtractor
from gavamoe.features.lexicon import BE, CLOSED, CLOSERS, DEGREES, DETERMINERS, POSSESSIVES, SEED_OPINIONS, SHELL_NOUNS
from gavamoe.features.token_corpus import TokenCorpus

# The features of a corpus are frequent words: more text than this yields the same ones.
MAX_CORPUS_WORDS = 2_000_000
ROUNDS = 4
MIN_MATCHES = 3  # pattern matches that a feature, and a learned opinion word, must have
# An aspect is often the subject of an opinion ("the pace is slow"), so a predicative match counts more than an
# attributive one. Nouns for what films and hotels are about (war, death) have far fewer of these matches.
PREDICATIVE_WEIGHT, COORDINATION_WEIGHT = 3, 3
# A feature needs this weighted number of pattern matches per occurrence.
MIN_STRENGTH = 0.08
# Set phrases (out the window, gritted teeth) repeat one word. A real aspect occurs with different words; their number
# grows about with the square root of the aspect's occurrences.
DISTINCT_FACTOR = 0.6
# Above this strength two distinct words are enough: the word hardly occurs without an opinion (fast delivery).
HIGH_STRENGTH = 0.4
# If the corpus uses few opinion words, this share of them is enough.
MAX_DISTINCT_SHARE = 0.05
# Shares of a word's occurrences that determine its word class; docs/data.md shows what they let through.
NOUN_SHARE = 0.05
NOUN_ENDS_SHARE = 0.4
ADJECTIVE_SHARE = 0.02
NAME_SHARE = 0.5
PARTICIPLE_SHARE = 0.1
# An aspect takes definite determiners ("the acting"); the item itself also takes "this" and "a" ("this comedy").
DEFINITE_SHARE = 0.36
THIS_SHARE = 0.12
# Reviews that begin with "A gripping journey" use "journey" for the item itself.
ITEM_SHARE = 0.2
# Added to the definite determiners, so that a word with few determiners is not excluded.
DETERMINER_PRIOR = 1.5
# A learned opinion word must shift the rating of its texts by this many standard errors.
MIN_STANDARD_ERRORS = 1.5


def mine_features(texts: pl.Series, ratings: pl.Series) -> FeatureExtractor | None:
    """Learn features and opinion words from reviews.

    Args:
        texts: [n] training reviews; a sample of MAX_CORPUS_WORDS words is enough.
        ratings: [n] their ratings; they determine whether a learned opinion word is praise or complaint.

    Returns:
        The extractor, or None if the texts mention no feature.
    """
    if texts.is_empty():
        return None
    corpus = TokenCorpus.from_texts(texts)
    sentiment = _sentiment(corpus, ratings)
    seed = corpus.mask(SEED_OPINIONS)
    noun = _nouns(corpus, seed) & _aspects(corpus) & ~seed
    adjective = _adjectives(corpus) & (sentiment != 0)
    opinion, feature, strength = seed, np.zeros_like(noun), np.zeros(len(noun))
    for _ in range(ROUNDS):
        strength = _feature_strength(corpus, noun & ~opinion, opinion, feature)
        feature = strength >= MIN_STRENGTH
        opinion = opinion | (_opinions_on(corpus, feature, adjective) & ~feature)
    if not feature.any():
        return None
    weights = dict(zip(corpus.words_in(feature), np.minimum(strength[feature], 1).round(4).tolist(), strict=True))
    signs = zip(corpus.words_in(opinion), sentiment[opinion], strict=True)
    return FeatureExtractor(weights, {word: SEED_OPINIONS.get(word, int(sign)) for word, sign in signs}, learned=True)


def _nouns(corpus: TokenCorpus, opinion: np.ndarray) -> np.ndarray:
    """Mark the words that stand between a determiner (or an opinion word) and the end of a phrase, except names."""
    phrase_open = (corpus.mask(DETERMINERS) | opinion)[corpus.previous]
    phrase_ends = _closers(corpus)[corpus.after(1)]
    inside = corpus.share(phrase_open & phrase_ends)
    ends = inside >= NOUN_ENDS_SHARE * corpus.share(phrase_open)
    after_degree = corpus.share(corpus.mask(DEGREES)[corpus.previous])
    adverbs = np.append(corpus.vocabulary.str.ends_with("ly").to_numpy(), False)
    participle = corpus.share(adverbs[corpus.previous]) >= PARTICIPLE_SHARE  # perfectly paced
    name = corpus.share(corpus.capital) >= NAME_SHARE
    return (
        (inside >= NOUN_SHARE)
        & ends
        & (inside > after_degree)
        & ~participle
        & ~name
        & ~corpus.mask(CLOSED | SHELL_NOUNS)
    )


def _aspects(corpus: TokenCorpus) -> np.ndarray:
    """Mark words for aspects, not for the item: they occur with "the" and "its" as well as "a", rarely with "this"."""
    determiners = (POSSESSIVES, frozenset({"a", "an"}), frozenset({"this"}))
    the, a, this = (_determiner_counts(corpus, words) for words in determiners)
    definite = the + DETERMINER_PRIOR >= DEFINITE_SHARE * (the + a + this + DETERMINER_PRIOR)
    item = this > THIS_SHARE * (the + this) + 1
    item |= _item_name_counts(corpus) > ITEM_SHARE * (_item_name_counts(corpus) + the) + 1
    plurals = {plural for word in corpus.words_in(item) for plural in (f"{word}s", f"{word}es", f"{word[:-1]}ies")}
    return definite & ~item & ~corpus.mask(plurals)


def _item_name_counts(corpus: TokenCorpus) -> np.ndarray:
    """Count how often each word ends a phrase that opens a sentence with "a" (at most two words between)."""
    opens = corpus.mask({"a", "an"})[corpus.word] & (corpus.previous == corpus.EDGE)
    last = _closers(corpus)[corpus.after(1)]
    named = np.zeros(len(last), dtype=bool)
    for distance in (1, 2, 3):
        named[distance:] |= opens[:-distance] & (corpus.segment[distance:] == corpus.segment[:-distance])
    return corpus.count(corpus.word[named & last])


def _determiner_counts(corpus: TokenCorpus, determiners: frozenset[str]) -> np.ndarray:
    """Count how often each word follows a determiner, directly or after one other word; [n_vocabulary + 1]."""
    determiner, previous = corpus.mask(determiners), corpus.previous
    between = ~(_closers(corpus) | corpus.mask(DETERMINERS | {"this"}))[previous]
    return corpus.count(corpus.word[determiner[previous] | (determiner[corpus.before(2)] & between)])


def _adjectives(corpus: TokenCorpus) -> np.ndarray:
    """Mark the words that follow degree words and do not end noun phrases."""
    degree, determiner = corpus.mask(DEGREES)[corpus.previous], corpus.mask(DETERMINERS)[corpus.previous]
    inside = corpus.share(determiner & _closers(corpus)[corpus.after(1)])
    name = corpus.share(corpus.capital) >= NAME_SHARE  # the very American
    return (corpus.share(degree) >= np.maximum(ADJECTIVE_SHARE, inside)) & ~name & ~corpus.mask(CLOSED)


def _closers(corpus: TokenCorpus) -> np.ndarray:
    """Mark the words that end a noun phrase, and the edge of the sentence; bool [n_vocabulary + 1]."""
    closers = corpus.mask(CLOSERS)
    closers[corpus.EDGE] = True
    return closers


def _feature_strength(corpus: TokenCorpus, noun: np.ndarray, opinion: np.ndarray, feature: np.ndarray) -> np.ndarray:
    """Return each noun's weighted pattern matches per occurrence, [n_vocabulary + 1].

    The strength is 0 if a noun has too few matches, or too few distinct words in them.
    """
    attributive, predicative, with_degree = _patterns(corpus, noun, opinion)
    before, after = _coordinated(corpus, noun, feature)
    word, one, two = corpus.word, corpus.after(1), corpus.after(2)
    matches = [
        (one[attributive], word[attributive], 1),
        (word[predicative], two[predicative], PREDICATIVE_WEIGHT),
        (word[with_degree], corpus.after(3)[with_degree], PREDICATIVE_WEIGHT),
        (word[after], corpus.before(2)[after], COORDINATION_WEIGHT),
        (word[before], two[before], COORDINATION_WEIGHT),
    ]
    nouns = np.concatenate([nouns for nouns, _, _ in matches])
    others = np.concatenate([others for _, others, _ in matches])
    weights = np.concatenate([np.full(len(nouns), weight) for nouns, _, weight in matches])
    distinct = corpus.count(np.unique(np.stack([nouns, others]), axis=1)[0])
    expected = np.minimum(DISTINCT_FACTOR * np.sqrt(corpus.counts), MAX_DISTINCT_SHARE * len(np.unique(others)) // 1)
    strength = corpus.count(nouns, weights) / np.maximum(corpus.counts, 1)
    enough = (distinct >= expected) | ((strength >= HIGH_STRENGTH) & (distinct > 1))
    return np.where(enough & (corpus.count(nouns) >= MIN_MATCHES), strength, 0.0)


def _coordinated(corpus: TokenCorpus, noun: np.ndarray, feature: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mark the nouns before "and" and a feature, and the nouns after a feature and "and"; two bool [n_tokens]."""
    both, closers = corpus.mask({"and"}), _closers(corpus)
    before = noun[corpus.word] & both[corpus.after(1)] & feature[corpus.after(2)] & closers[corpus.after(3)]
    after = noun[corpus.word] & both[corpus.previous] & feature[corpus.before(2)] & closers[corpus.after(1)]
    return before, after


def _opinions_on(corpus: TokenCorpus, feature: np.ndarray, adjective: np.ndarray) -> np.ndarray:
    """Mark the adjectives that modify features, and enough distinct ones; bool [n_vocabulary + 1].

    An adjective that modifies a single feature is part of its name, as in special effects.
    """
    attributive, predicative, with_degree = _patterns(corpus, feature, adjective)
    adjectives = (corpus.word[attributive], corpus.after(2)[predicative], corpus.after(3)[with_degree])
    nouns = (corpus.after(1)[attributive], corpus.word[predicative], corpus.word[with_degree])
    pairs = np.stack([np.concatenate(adjectives), np.concatenate(nouns)])
    matches, distinct = corpus.count(pairs[0]), corpus.count(np.unique(pairs, axis=1)[0])
    expected = np.minimum(DISTINCT_FACTOR * np.sqrt(matches), MAX_DISTINCT_SHARE * feature.sum())
    return (matches >= MIN_MATCHES) & (distinct >= expected)


def _patterns(corpus: TokenCorpus, noun: np.ndarray, opinion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mark where each pattern starts: opinion noun; noun be opinion; noun be degree opinion; three bool [n_tokens]."""
    be, degree = corpus.mask(BE), corpus.mask(DEGREES)
    word, one, two, three = corpus.word, corpus.after(1), corpus.after(2), corpus.after(3)
    attributive = opinion[word] & noun[one] & _closers(corpus)[two]
    return attributive, noun[word] & be[one] & opinion[two], noun[word] & be[one] & degree[two] & opinion[three]


def _sentiment(corpus: TokenCorpus, ratings: pl.Series) -> np.ndarray:
    """Return 1 or -1 for words whose texts have clearly higher or lower ratings than average, else 0.

    Returns:
        [n_vocabulary + 1]; "clearly" is MIN_STANDARD_ERRORS standard errors of the mean rating.
    """
    rating = ratings.to_numpy().astype(np.float64)
    deviation = corpus.count(corpus.word, weights=(rating - rating.mean())[corpus.row])
    error = max(rating.std(), 1e-9) * np.sqrt(np.maximum(corpus.counts, 1))
    return np.where(np.abs(deviation) >= MIN_STANDARD_ERRORS * error, np.sign(deviation), 0).astype(int)
