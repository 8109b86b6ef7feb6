"""The condition of an explanation: where the prompt's rating and feature come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from gavamoe.errors import DataError

if TYPE_CHECKING:
    import polars as pl

Source = Literal["none", "predicted", "given"]


@dataclass(frozen=True)
class Condition:
    """Where the prompt's rating and feature come from.

    `none` leaves the fact out, `predicted` uses a model's prediction, and `given` uses the true value of the review.
    `given` is an oracle: it is never the default, and every number that was made with it says so.
    """

    rating: Source = "predicted"
    feature: Source = "predicted"

    @property
    def oracle(self) -> bool:
        """Whether the prompt contains a true value."""
        return "given" in (self.rating, self.feature)

    @property
    def slug(self) -> str:
        """The condition as part of a file name, like `rating-predicted_feature-none`."""
        return f"rating-{self.rating}_feature-{self.feature}"

    def to_dict(self) -> dict[str, Any]:
        """Return the condition as it is saved beside the results that were made under it."""
        return {"rating": self.rating, "feature": self.feature, "oracle": self.oracle}


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
