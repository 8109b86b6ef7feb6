"""Simulate reviews with a known ground truth: users in K taste groups, items with aspects, ratings and sentences.

    group k  -> taste weights over the aspects (what its users care about)
    item i   -> quality of each aspect, and overall quality
    rating   = level of  base + leniency_u + quality_i + taste_u . aspect_i + noise
    sentence = names the aspect that contributed most to this rating, in words that fit the rating
    style    = how the group writes, whatever it says (`simulated_styles`); none by default

`simulate_items` names and describes the items of the same world: an item's categories are its two best aspects.
The group of each user is the ground truth for the clusters of the preference model.
Array suffixes: U users, I items, A aspects, N reviews.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from gavamoe.data.simulated_phrases import CATEGORIES, ENGLISH, LANGUAGES, TITLES
from gavamoe.data.simulated_styles import draw_wordings
from gavamoe.errors import ConfigError

ASPECTS = len(ENGLISH.aspects)
LEVELS = 5
MOST = 2**31 - 1  # users, items, reviews or clusters


@dataclass(frozen=True)
class World:
    """Size of the simulation, and how clearly its taste groups differ.

    Args:
        users: number of users.
        items: number of items.
        reviews: number of reviews, each of another (user, item) pair.
        clusters: number of taste groups, K.
        seed: seed of all random draws.
        separation: scale of the effect of taste on a rating.
        noise: standard deviation of the unexplained part of a rating, in levels.
        taste_spread: standard deviation of a user's taste weights around those of the group.
        language: language of the texts: en, de, zh or ar. Everything else is the same in all of them.
        style: how strongly the groups' texts differ in wording, 0..1: the probability of each part of a group's style
            in a review. Only the texts depend on it.
    """

    users: int = 400
    items: int = 120
    reviews: int = 12_000
    clusters: int = 4
    seed: int = 0
    separation: float = 1.0
    noise: float = 0.35
    taste_spread: float = 0.15
    language: str = "en"
    style: float = 0.0

    def __post_init__(self) -> None:
        for name in ("users", "items", "reviews", "clusters"):
            if not 1 <= getattr(self, name) <= MOST:
                raise ConfigError(f"{name} must be between 1 and {MOST:,}, not {getattr(self, name)}")
        if self.language not in LANGUAGES:
            raise ConfigError(f"language must be one of {', '.join(LANGUAGES)}, not {self.language}")
        if not 0 <= self.style <= 1:
            raise ConfigError(f"style must be between 0 and 1, not {self.style}")
        if self.clusters > self.users:
            raise ConfigError(f"{self.clusters} clusters need at least as many users, not {self.users}")
        if self.reviews > self.users * self.items:
            raise ConfigError(
                f"{self.reviews} reviews do not fit: {self.users} users x {self.items} items are only "
                f"{self.users * self.items} pairs; ask for fewer reviews or more users"
            )


def simulate(world: World) -> pl.DataFrame:
    """Draw the reviews of a world.

    Returns:
        One row per review: user, item, rating (1..5), text, feature, timestamp, cluster (the user's true group).
    """
    rng = np.random.default_rng(world.seed)
    group_U, taste_UA, aspect_IA = _draw_tastes(world, rng)
    leniency_U, quality_I = 0.15 * rng.normal(size=world.users), 0.25 * rng.normal(size=world.items)

    user, item = _draw_pairs(world, rng)
    appeal_NA = world.separation * taste_UA[user] * aspect_IA[item]
    score = 3.2 + leniency_U[user] + quality_I[item] + appeal_NA.sum(1) + world.noise * rng.normal(size=len(user))
    rating = np.clip(np.rint(score), 1, LEVELS).astype(int)
    aspect = _choose_aspect(appeal_NA, rating, rng)
    praise = aspect_IA[item, aspect] > 0
    order = np.argsort(rng.random(len(user)))
    frame = pl.DataFrame(
        {
            "user": [f"u{u:0{len(str(world.users))}d}" for u in user],
            "item": [_item_name(world, i) for i in item],
            "rating": rating,
            "text": _sentences(world, rating, aspect, praise, group_U[user], rng),
            "feature": [LANGUAGES[world.language].aspects[a][0] for a in aspect],
            "timestamp": 1_500_000_000 + np.sort(rng.integers(0, 10**8, len(user))),
            "cluster": group_U[user],
        }
    )
    timestamps = frame["timestamp"]
    return frame[order].with_columns(timestamps)


def simulate_items(world: World) -> pl.DataFrame:
    """Return the metadata of the items that `simulate` draws reviews of; the texts are English in every world.

    Returns:
        One row per item: item, title, categories (two, separated by commas), description.
    """
    _, _, aspect_IA = _draw_tastes(world, np.random.default_rng(world.seed))
    rows = []
    for i, aspect_A in enumerate(aspect_IA):
        first, second = (CATEGORIES[aspect] for aspect in np.argsort(-aspect_A)[:2])
        adjective, noun, repeat = TITLES.name(i)
        title = f"The {adjective.capitalize()} {noun.capitalize()}{f' {repeat + 1}' if repeat else ''}"
        description = f"A {first} with some {second}, about a {adjective} {noun} and the people who cannot leave it."
        rows.append((_item_name(world, i), title, f"{first}, {second}", description))
    return pl.DataFrame(rows, schema=["item", "title", "categories", "description"], orient="row")


def _item_name(world: World, item: int) -> str:
    return f"i{item:0{len(str(world.items))}d}"


def _draw_tastes(world: World, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw the group of each user, [U], users' taste weights, [U, A], and the quality of items' aspects, [I, A]."""
    group_U = rng.permutation(np.arange(world.users) % world.clusters)
    taste_UA = _group_tastes(world, rng)[group_U] + world.taste_spread * rng.normal(size=(world.users, ASPECTS))
    return group_U, taste_UA, rng.uniform(-1, 1, size=(world.items, ASPECTS))


def _group_tastes(world: World, rng: np.random.Generator) -> np.ndarray:
    """Draw taste weights, [clusters, aspects]: each group likes three aspects, different ones per group if possible."""
    tastes = np.zeros((world.clusters, ASPECTS))
    for k in range(world.clusters):
        liked = (3 * k + np.arange(3) + k // ASPECTS) % ASPECTS
        tastes[k, liked] = rng.uniform(1.0, 1.4, 3)
        tastes[k, (liked[-1] + 1) % ASPECTS] = -0.6  # each group also dislikes an aspect that others may like
    return tastes


def _draw_pairs(world: World, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw distinct (user, item) pairs, [N] each, with log-normal user activity and item popularity."""
    user_weight, item_weight = rng.lognormal(0, 0.8, world.users), rng.lognormal(0, 0.6, world.items)
    user_weight, item_weight = user_weight / user_weight.sum(), item_weight / item_weight.sum()
    pairs = np.empty(0, dtype=np.int64)
    for _ in range(20):
        missing = world.reviews - len(pairs)
        if missing <= 0:
            break
        draw = 2 * missing + 100
        users = rng.choice(world.users, draw, p=user_weight)
        items = rng.choice(world.items, draw, p=item_weight)
        drawn = np.concatenate([pairs, users.astype(np.int64) * world.items + items])
        pairs = drawn[np.sort(np.unique(drawn, return_index=True)[1])][: world.reviews]
    if len(pairs) < world.reviews:  # a dense world: fill up with pairs that were not drawn
        rest = np.setdiff1d(np.arange(world.users * world.items), pairs)
        pairs = np.concatenate([pairs, rng.choice(rest, world.reviews - len(pairs), replace=False)])
    return pairs // world.items, pairs % world.items


def _choose_aspect(appeal_NA: np.ndarray, rating: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Choose the aspect of each review, [N]: the one that contributed most in the direction of the rating.

    For the middle rating it is the largest contribution in either direction. Gumbel noise randomises near ties.
    """
    direction = np.sign(rating - 3)[:, None]
    contribution = np.where(direction == 0, np.abs(appeal_NA), appeal_NA * direction)
    aspect_N: np.ndarray = np.argmax(contribution + 0.1 * rng.gumbel(size=contribution.shape), axis=1)
    return aspect_N


def _sentences(
    world: World,
    rating: np.ndarray,
    aspect: np.ndarray,
    praise: np.ndarray,
    group: np.ndarray,
    rng: np.random.Generator,
) -> list[str]:
    """Write one text per review: an opening for the rating, a link, the aspect and an opinion of it, in a style."""
    phrases = LANGUAGES[world.language]
    picks = rng.integers(0, 3, size=(len(rating), 3))
    wordings = draw_wordings(group, world.style, world.seed, world.language)
    sentences = []
    for level, a, good, (i, j, k), wording in zip(
        rating.tolist(), aspect.tolist(), praise.tolist(), picks.tolist(), wordings, strict=True
    ):
        feature, praises, complaints = phrases.aspects[a]
        links = phrases.concessions if (level > 3 and not good) or (level < 3 and good) else phrases.reasons
        opinion = wording.intensifier.format(opinion=(praises if good else complaints)[k])
        link = links[j].format(feature=feature, opinion=opinion)
        sentence = (wording.sentence or phrases.sentence).format(opening=phrases.openings[level][i], link=link)
        sentences.append(wording.around(sentence))
    return sentences
