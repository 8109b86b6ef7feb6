"""The condition of an explanation: where the prompt's rating and feature come from, and what else it may state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from gavamoe.errors import ConfigError, DataError

if TYPE_CHECKING:
    import polars as pl

Source = Literal["none", "predicted", "given"]
Context = Literal["none", "item", "evidence", "history"]
CONTEXTS: tuple[Context, ...] = ("none", "item", "evidence", "history")  # each includes those before it


@dataclass(frozen=True)
class Condition:
    """What the prompt of a pair may state.

    `rating` and `feature`: `none` leaves the fact out, `predicted` uses a model's prediction, and `given` uses the true
    value of the review. `given` is an oracle: it is never the default, and every number that was made with it says so.

    `context`: `none` states nothing else, `item` adds the item's name, categories and description, `evidence` adds
    sentences by other users about the item, and `history` adds sentences by the user about other items. Quotations are
    from training reviews of other pairs, so no value of `context` is an oracle. None leaves the choice to the run: its
    prompt then states as much as it can (`with_context`).
    """

    rating: Source = "predicted"
    feature: Source = "predicted"
    context: Context | None = None

    @property
    def oracle(self) -> bool:
        """Whether the prompt contains a true value."""
        return "given" in (self.rating, self.feature)

    @property
    def slug(self) -> str:
        """The condition as part of a file name, like `rating-predicted_feature-none`."""
        context = "" if self.context is None else f"_context-{self.context}"
        return f"rating-{self.rating}_feature-{self.feature}{context}"

    def to_dict(self) -> dict[str, Any]:
        """Return the condition as it is saved beside the results that were made under it."""
        context = {} if self.context is None else {"context": self.context}
        return {"rating": self.rating, "feature": self.feature, **context, "oracle": self.oracle}

    def states(self, part: Context) -> bool:
        """Return whether the prompt may state a part of the context; an undecided context may state all of it."""
        return self.context is None or CONTEXTS.index(part) <= CONTEXTS.index(self.context)

    def told(self, inputs: Iterable[str]) -> dict[str, str]:
        """Return the source of each field that a system with these `inputs` reads, without fields that are left out."""
        stated = {field: getattr(self, field) or CONTEXTS[-1] for field in sorted(inputs)}
        return {field: source for field, source in stated.items() if source != "none"}

    def with_context(self, most: Context) -> Condition:
        """Return the condition with its context decided.

        Args:
            most: the most that the prompt of a run can state.

        Raises:
            ConfigError: the condition has a context that the prompt cannot state.
        """
        if self.context is None:
            return replace(self, context=most)
        if not Condition(context=most).states(self.context):
            raise ConfigError(
                f"the prompt of this run cannot state the context '{self.context}', because it was trained with "
                f"special tokens (explainer.prompt_template); choose the context {most}"
            )
        return self


TRUTH = Condition("given", "given")  # training and its validation loss read the true rating and feature


def given_column(frame: pl.DataFrame, name: str) -> pl.Series:
    """Return the column with the true values for the condition NAME=given.

    Raises:
        DataError: the column is missing, or all its values are null.
    """
    if name not in frame.columns or frame[name].null_count() == len(frame) > 0:
        raise DataError(
            f"the condition {name}=given needs a column {name} with values; choose {name}=predicted or none"
        )
    return frame[name]
