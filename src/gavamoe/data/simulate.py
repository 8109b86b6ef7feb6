"""A small world of reviews whose truth is known: users with tastes in K groups, items with aspects, ratings and
sentences that follow from both.

    group k  -> taste weights over the aspects (what its users care for)
    item i   -> how good it is at each aspect, and in general
    rating   = level of  base + leniency_u + quality_i + taste_u . aspect_i + noise
    sentence = speaks of the aspect that moved this user most on this item, in words that fit the rating

The group of each user is the truth that the clusters of the preference model are held against.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from gavamoe.errors import ConfigError

# (aspect, phrases of praise, phrases of complaint); the aspect is the review's `feature`.
ASPECTS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("story", ("surprising", "rich", "gripping"), ("predictable", "muddled", "thin")),
    ("acting", ("superb", "moving", "vivid"), ("wooden", "flat", "unconvincing")),
    ("humour", ("sharp", "gentle", "hilarious"), ("tired", "forced", "mean")),
    ("music", ("haunting", "joyful", "unforgettable"), ("intrusive", "bland", "blaring")),
    ("photography", ("gorgeous", "inventive", "breathtaking"), ("murky", "cheap", "lifeless")),
    ("pace", ("brisk", "confident", "relentless"), ("sluggish", "uneven", "exhausting")),
    ("dialogue", ("witty", "natural", "quotable"), ("clumsy", "stilted", "dull")),
    ("ending", ("satisfying", "bold", "touching"), ("rushed", "absurd", "hollow")),
)
OPENINGS: dict[int, tuple[str, ...]] = {
    1: ("a waste of an evening ,", "i wanted to leave early ,", "nothing works here ,"),
    2: ("not for me ,", "a disappointment ,", "hard to recommend ,"),
    3: ("a mixed evening ,", "neither good nor bad ,", "it left me undecided ,"),
    4: ("well worth seeing ,", "i enjoyed this ,", "a fine evening ,"),
    5: ("i loved every minute ,", "a new favourite ,", "simply wonderful ,"),
}
# How the aspect joins the opening: it speaks for the rating, or against it.
REASONS = (
    "above all because the {feature} is {opinion}",
    "and the {feature} is {opinion}",
    "because of the {opinion} {feature}",
)
CONCESSIONS = (
    "although the {feature} is {opinion}",
    "even if the {feature} is {opinion}",
    "despite the {opinion} {feature}",
)
LEVELS = 5


@dataclass(frozen=True)
class World:
    """How large the simulated world is and how clearly its groups differ.

    `separation` scales how much taste moves a rating against `noise`, the standard deviation (in levels) of what
    nothing explains; `taste_spread` is how far a user strays from the taste of its group.
    """

    users: int = 400
    items: int = 120
    reviews: int = 12_000
    clusters: int = 4
    seed: int = 0
    separation: float = 1.0
    noise: float = 0.35
    taste_spread: float = 0.15

    def __post_init__(self) -> None:
        for name in ("users", "items", "reviews", "clusters"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.clusters > self.users:
            raise ConfigError(f"{self.clusters} clusters need at least as many users, not {self.users}")
        if self.reviews > self.users * self.items:
            raise ConfigError(
                f"{self.reviews} reviews do not fit: {self.users} users x {self.items} items are only "
                f"{self.users * self.items} pairs; ask for fewer reviews or more users"
            )


def simulate(world: World) -> pl.DataFrame:
    """Draw the world; one row a review: user, item, rating 1..5, text, feature, timestamp, cluster (the truth)."""
    rng = np.random.default_rng(world.seed)
    group_U = rng.permutation(np.arange(world.users) % world.clusters)
    taste_UA = _group_tastes(world, rng)[group_U] + world.taste_spread * rng.normal(size=(world.users, len(ASPECTS)))
    aspect_IA = rng.uniform(-1, 1, size=(world.items, len(ASPECTS)))
    leniency_U, quality_I = 0.15 * rng.normal(size=world.users), 0.25 * rng.normal(size=world.items)

    user, item = _draw_pairs(world, rng)
    appeal_NA = world.separation * taste_UA[user] * aspect_IA[item]
    score = 3.2 + leniency_U[user] + quality_I[item] + appeal_NA.sum(1) + world.noise * rng.normal(size=len(user))
    rating = np.clip(np.rint(score), 1, LEVELS).astype(int)
    aspect = _spoken_aspect(appeal_NA, rating, rng)
    praise = aspect_IA[item, aspect] > 0
    order = np.argsort(rng.random(len(user)))
    frame = pl.DataFrame(
        {
            "user": [f"u{u:0{len(str(world.users))}d}" for u in user],
            "item": [f"i{i:0{len(str(world.items))}d}" for i in item],
            "rating": rating,
            "text": _sentences(rating, aspect, praise, rng),
            "feature": [ASPECTS[a][0] for a in aspect],
            "timestamp": 1_500_000_000 + np.sort(rng.integers(0, 10**8, len(user))),
            "cluster": group_U[user],
        }
    )
    timestamps = frame["timestamp"]
    return frame[order].with_columns(timestamps)


def _group_tastes(world: World, rng: np.random.Generator) -> np.ndarray:
    """[clusters, aspects] weights: each group cares for three aspects, no two groups for the same three if they can."""
    tastes = np.zeros((world.clusters, len(ASPECTS)))
    for k in range(world.clusters):
        cares = (3 * k + np.arange(3) + k // len(ASPECTS)) % len(ASPECTS)
        tastes[k, cares] = rng.uniform(1.0, 1.4, 3)
        tastes[k, (cares[-1] + 1) % len(ASPECTS)] = -0.6  # and dislikes what others may seek
    return tastes


def _draw_pairs(world: World, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Distinct (user, item) pairs; activity and popularity are skewed, as in life."""
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
        fresh = np.concatenate([pairs, users.astype(np.int64) * world.items + items])
        pairs = fresh[np.sort(np.unique(fresh, return_index=True)[1])][: world.reviews]
    if len(pairs) < world.reviews:  # a dense world: fill up with the pairs nobody drew
        rest = np.setdiff1d(np.arange(world.users * world.items), pairs)
        pairs = np.concatenate([pairs, rng.choice(rest, world.reviews - len(pairs), replace=False)])
    return pairs // world.items, pairs % world.items


def _spoken_aspect(appeal_NA: np.ndarray, rating: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The aspect that moved the user most, in the direction the rating went; a middling rating takes the largest."""
    direction = np.sign(rating - 3)[:, None]
    pull = np.where(direction == 0, np.abs(appeal_NA), appeal_NA * direction)
    return np.argmax(pull + 0.1 * rng.gumbel(size=pull.shape), axis=1)


def _sentences(rating: np.ndarray, aspect: np.ndarray, praise: np.ndarray, rng: np.random.Generator) -> list[str]:
    picks = rng.integers(0, 3, size=(len(rating), 3))
    sentences = []
    for level, a, good, (i, j, k) in zip(
        rating.tolist(), aspect.tolist(), praise.tolist(), picks.tolist(), strict=True
    ):
        feature, praises, complaints = ASPECTS[a]
        links = CONCESSIONS if (level > 3 and not good) or (level < 3 and good) else REASONS
        link = links[j].format(feature=feature, opinion=(praises if good else complaints)[k])
        sentences.append(f"{OPENINGS[level][i]} {link} .")
    return sentences
