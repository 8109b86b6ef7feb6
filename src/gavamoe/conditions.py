"""What a prompt may know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from gavamoe.errors import DataError

Source = Literal["none", "predicted", "given"]


@dataclass(frozen=True)
class Condition:
    """What the prompt may know. `given` is ground truth: an oracle, printed with every number, never the default."""

    rating: Source = "predicted"
    feature: Source = "predicted"

    @property
    def oracle(self) -> bool:
        """Whether ground truth enters the prompt."""
        return "given" in (self.rating, self.feature)

    @property
    def slug(self) -> str:
        """As a file name."""
        return f"rating-{self.rating}_feature-{self.feature}"

    def to_dict(self) -> dict[str, Any]:
        """As it is written beside what was made under it."""
        return {"rating": self.rating, "feature": self.feature, "oracle": self.oracle}


TRUTH = Condition("given", "given")  # of the reviews that training and its validation loss read


def given_column(frame: pl.DataFrame, name: str) -> pl.Series:
    """The column that the condition NAME=given takes the truth from."""
    if name not in frame.columns or frame[name].null_count() == len(frame) > 0:
        raise DataError(
            f"the condition {name}=given needs a column {name} with values; choose {name}=predicted or none"
        )
    return frame[name]
