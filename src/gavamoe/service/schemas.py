"""Requests and answers of the API. Names are those of `gavamoe explain --json`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from gavamoe.conditions import Context, Source
from gavamoe.explainer.explanation import UserSource

LONGEST_NAME = 256  # characters of the name of a user or item
LONGEST_TEXT = 4_000  # characters of a text or comment
LONGEST_FEATURE = 64
LONGEST_HISTORY = 500  # reviews in a history
MOST_EVIDENCE = 20
LONGEST_DEADLINE_MS = 600_000
LOWEST_TEMPERATURE = 0.01


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("the character NUL is not allowed")
    return text


def _usable_temperature(value: float) -> float:
    if 0 < value < LOWEST_TEMPERATURE:
        raise ValueError(f"use 0 for greedy decoding, or at least {LOWEST_TEMPERATURE}")
    return value


Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(_storable)]
LongText = Annotated[str, Field(max_length=LONGEST_TEXT), AfterValidator(_storable)]
Feature = Annotated[str, Field(min_length=1, max_length=LONGEST_FEATURE), AfterValidator(_storable)]
Rating = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6, description="On the scale of the run.")]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]


class Strict(BaseModel):
    """A request whose unknown fields are an error, so that a misspelt field is not silently ignored."""

    model_config = ConfigDict(extra="forbid")


class HistoryEntry(Strict):
    """A rated item of a user that the run does not know; a run with prompts in words quotes the text."""

    item: Name
    rating: Rating
    text: LongText | None = None


class Pair(Strict):
    """A user and an item; rating and feature are ground truth, which makes the condition `given`."""

    user: Name
    item: Name
    rating: Rating | None = None
    feature: Feature | None = None
    history: Annotated[list[HistoryEntry], Field(min_length=1, max_length=LONGEST_HISTORY)] | None = Field(
        default=None, description="Rated items, from which the user is estimated instead of looked up by name."
    )


class ConditionModel(Strict):
    """Where the rating and the feature in the prompt come from; `given` needs them in every pair.

    `context` is what else a prompt in words may state; without it, as much as the run's prompt can.
    """

    rating: Source | None = None
    feature: Source | None = None
    context: Context | None = None


class Decoding(Strict):
    """Settings of decoding that replace those of the run."""

    candidates: Annotated[int, Field(ge=1, le=64)] | None = None
    mbr_references: Annotated[int, Field(ge=0, le=64)] | None = None
    mbr_content_words: bool | None = None
    temperature: (
        Annotated[float, Field(ge=0, le=10, allow_inf_nan=False), AfterValidator(_usable_temperature)] | None
    ) = None
    top_p: Annotated[float, Field(ge=0.01, le=1, allow_inf_nan=False)] | None = None
    do_sample: bool | None = None
    num_beams: Annotated[int, Field(ge=1, le=16)] | None = None
    max_new_tokens: Annotated[int, Field(ge=1, le=256)] | None = None
    min_new_tokens: Annotated[int, Field(ge=0, le=256)] | None = None
    no_repeat_ngram_size: Annotated[int, Field(ge=0, le=16)] | None = None


class ExplainRequest(Strict):
    """Pairs to explain."""

    pairs: Annotated[list[Pair], Field(min_length=1)]
    condition: ConditionModel | None = None
    decoding: Decoding | None = None
    evidence: Annotated[int, Field(ge=0, le=MOST_EVIDENCE)] = 3
    experts: bool = False
    seed: Seed = 0
    deadline_ms: Annotated[int, Field(ge=1, le=LONGEST_DEADLINE_MS)] | None = None
    fallback: Literal["template"] | None = Field(
        default=None, description="What to answer after a missed deadline, instead of 504."
    )


class ExpertsRequest(Strict):
    """A text whose tokens' experts are asked for."""

    user: Name
    item: Name
    text: LongText
    rating: Rating | None = None
    feature: Feature | None = None


class RecommendRequest(Strict):
    """Who is to be given recommendations: a user, or a history, which counts if both are stated."""

    user: Name | None = None
    history: Annotated[list[HistoryEntry], Field(min_length=1, max_length=LONGEST_HISTORY)] | None = None
    top: Annotated[int, Field(ge=1, le=100)] = 10
    explain: bool = False

    @model_validator(mode="after")
    def _someone(self) -> RecommendRequest:
        if self.user is None and self.history is None:
            raise ValueError("state a user or a history")
        return self


class FeedbackRequest(Strict):
    """What a person thinks of an explanation."""

    user: Name
    item: Name
    useful: bool
    text: LongText | None = None
    comment: LongText | None = None


class ReloadRequest(Strict):
    """The run to serve from now on; without one, the directory that is served is read again."""

    run: Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_storable)] | None = None


class ErrorAnswer(BaseModel):
    """What is wrong, in one line."""

    error: str


class EvidenceAnswer(BaseModel):
    """A sentence from another user's review of the item."""

    user: str
    text: str
    rating: float
    score: float
    parts: dict[str, float]
    feature: str | None
    cluster: int


class RatingProbability(BaseModel):
    """A rating of the scale and its predicted probability."""

    rating: float
    p: float


class ExplanationAnswer(BaseModel):
    """An explanation with everything that is known about its pair."""

    user: str
    item: str
    text: str
    rating: float
    cluster: int
    responsibilities: list[float]
    cold_user: bool
    user_source: UserSource
    cold_item: bool
    finished: bool
    feature: str | None
    conditions: dict[str, Any]
    experts: list[list[float]] | None
    evidence: list[EvidenceAnswer]
    rating_distribution: list[RatingProbability] | None
    map: list[float] | None
    source: Literal["model", "store", "template"]


class ExplainAnswer(BaseModel):
    """Explanations in the order of the pairs, and the run that made all of them."""

    explanations: list[ExplanationAnswer]
    run: str


class TokenAnswer(BaseModel):
    """A token's text, and the experts that each layer selected for it."""

    text: str
    layers: list[list[int]]


class ExpertsAnswer(BaseModel):
    """The experts of each token of a text."""

    tokens: list[TokenAnswer]
    layers: int
    experts: int
    run: str


class RecommendedItem(BaseModel):
    """An item with its predicted rating; `why` is the reason if the item is a fallback."""

    item: str
    title: str | None
    rating: float
    cluster: int | None = None
    text: str | None = None
    why: str | None = None


class RecommendAnswer(BaseModel):
    """Recommended items, best first; `note` says why there are fewer than requested."""

    user: str | None
    items: list[RecommendedItem]
    note: str | None = None
    run: str


class FeedbackAnswer(BaseModel):
    """The feedback is in the store."""

    kept: bool


class RunAnswer(BaseModel):
    """The run that is served."""

    run: str
    name: str
    digest: str
    users: int
    items: int
    reviews: int
    clusters: int
    texts: bool = Field(description="Whether the run writes texts; one of stage 1 alone predicts ratings only.")
    layers: int
    experts: int
    top_k: int
    scale: list[float]
    conditions: dict[str, Any]
    features: list[str]


class UserMatch(BaseModel):
    """A user that a search found."""

    user: str
    reviews: int


class UsersAnswer(BaseModel):
    """Users, most reviews first."""

    users: list[UserMatch]


class ItemMatch(BaseModel):
    """An item that a search found."""

    item: str
    title: str | None
    reviews: int
    mean_rating: float


class ItemsAnswer(BaseModel):
    """Items, most reviews first."""

    items: list[ItemMatch]


class RatedItem(BaseModel):
    """An item that a user rated in training."""

    item: str
    title: str | None
    rating: float


class UserAnswer(BaseModel):
    """A user; `known` is false if the run has no training review by the user."""

    user: str
    known: bool
    reviews: int
    mean_rating: float | None
    clusters: list[float]
    history: list[RatedItem]


class FeatureCount(BaseModel):
    """A feature and how often reviews mention it."""

    feature: str
    count: int


class ItemAnswer(BaseModel):
    """An item; `known` is false if the run has no training review of it."""

    item: str
    known: bool
    title: str | None
    categories: list[str]
    description: str | None
    reviews: int
    mean_rating: float | None
    features: list[FeatureCount]
    clusters: list[float]


class WordOdds(BaseModel):
    """A word and the z-score of its log odds in the cluster against the other clusters."""

    word: str
    log_odds: float


class ClusterAnswer(BaseModel):
    """A cluster of pairs: how large it is, who is in it, what they like and how they write."""

    cluster: int
    pairs: int
    users: int
    share: float
    rating: float
    above: float
    genres: list[str]
    features: list[str]
    likes: list[str]
    dislikes: list[str]
    typical_users: list[str]
    words: list[WordOdds]
    length: float | None


class ClustersAnswer(BaseModel):
    """All clusters with at least one training pair."""

    clusters: list[ClusterAnswer]


class MapPoint(BaseModel):
    """A training pair in the plane."""

    x: float
    y: float
    cluster: int


class MapAnswer(BaseModel):
    """A plane in which clusters of pairs can be seen, and how it was made."""

    points: list[MapPoint]
    method: str


class ReloadAnswer(BaseModel):
    """The run that is served now."""

    run: str


class HealthAnswer(BaseModel):
    """Whether the service lives, or is ready."""

    status: str
    run: str | None = None
