"""Rating scales: levels and ratings, inference, and ratings outside the scale."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gavamoe.data.scale import RatingOutOfRangeError, RatingScale
from gavamoe.errors import DataError

SCALES = [
    RatingScale.between(1, 5),
    RatingScale.between(0.5, 5, 0.5),
    RatingScale.between(0, 10),
    RatingScale.between(0, 100, 10),
    RatingScale(2, (0.0, 1.0)),
    RatingScale(1, (1.0,)),
]


@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_levels_and_ratings_are_inverse_on_the_values(scale: RatingScale) -> None:
    levels = scale.to_level(pl.Series(scale.values))
    assert levels.to_list() == list(range(1, scale.levels + 1))
    np.testing.assert_allclose(scale.to_rating(levels.to_numpy()), scale.values)


@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_scale_is_rebuilt_from_json(scale: RatingScale) -> None:
    assert RatingScale.from_json(scale.to_json()) == scale


@given(st.sampled_from(SCALES), st.floats(0, 1))
def test_level_is_the_nearest_one(scale: RatingScale, share: float) -> None:
    rating = scale.values[0] + share * (scale.values[-1] - scale.values[0])
    level = scale.to_level(pl.Series([rating])).item()
    distances = [abs(rating - value) for value in scale.values]
    assert distances[level - 1] == pytest.approx(min(distances), abs=1e-6)


def test_fractional_level_is_interpolated() -> None:
    assert RatingScale.between(0, 10, 2).to_rating(2.5) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("ratings", "values"),
    [
        ([1, 2, 3, 4, 5], (1, 2, 3, 4, 5)),
        ([4, 5, 5], (1, 2, 3, 4, 5)),
        ([0.5, 1, 3.5, 5], tuple(np.arange(0.5, 5.1, 0.5))),
        ([1, 4.5, 5], tuple(np.arange(1, 5.1, 0.5))),
        ([0, 3, 6, 8, 9, 10], tuple(range(11))),
        ([1, 3, 6, 8, 9, 10], tuple(range(1, 11))),
        ([12, 37, 55, 88, 100], tuple(range(0, 101, 10))),
        ([0, 1, 1, 0], (0, 1)),
        ([1.37, 3.2, 4.9], (1, 2, 3, 4, 5)),
    ],
)
def test_scale_is_inferred_from_the_ratings(ratings: list[float], values: tuple[float, ...]) -> None:
    assert RatingScale.infer(pl.Series(ratings, dtype=pl.Float32)).values == pytest.approx(values)


@pytest.mark.parametrize("stray", [7, 0, -1, 99, 1e6])
def test_single_outlier_is_an_error_with_its_row_not_a_wider_scale(stray: float) -> None:
    with pytest.raises(RatingOutOfRangeError, match="row 31") as caught:
        RatingScale.infer(pl.Series([1.0, 2, 3, 4, 5] * 6 + [stray]))
    assert caught.value.row == 30


def test_rating_outside_the_scale_is_reported_with_its_row() -> None:
    with pytest.raises(DataError, match=r"row 2: rating 6 .* 1\.\.5"):
        RatingScale.between(1, 5).to_level(pl.Series([5, 6]))


@pytest.mark.parametrize("text", ["1", "5:1", "a:b", "1:5:0", "1:2:3:4", "1:5:3", "0:1e9"])
def test_invalid_scale_is_a_data_error(text: str) -> None:
    with pytest.raises(DataError):
        RatingScale.parse(text)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), max_size=20))
def test_inferred_scale_covers_the_ratings_or_a_one_line_error_is_raised(ratings: list[float]) -> None:
    series = pl.Series(ratings, dtype=pl.Float32)
    try:
        scale = RatingScale.infer(series)
    except DataError as error:
        message = str(error)
    else:
        assert scale.to_level(series).is_between(1, scale.levels).all()
        return
    assert "\n" not in message
