"""The longest prompt within a number of tokens: what a prompt in words leaves out when not everything fits.

    all fields -> without the last quotation, one by one -> description cut -> categories dropped -> name, feature cut

A search tries prompts until one fits, so the limit holds for any template and any tokenizer.
"""

from __future__ import annotations

from collections.abc import Callable

from gavamoe.language.prompt import CutField, PromptFields

CUT_ORDER: tuple[CutField, ...] = ("description", "categories", "name", "feature")
Encode = Callable[[PromptFields], tuple[int, ...]]


def longest_that_fits(fields: PromptFields, encode: Encode, limit: int) -> tuple[int, ...] | None:
    """Return the token ids of the prompt with as much of the fields as fits.

    Args:
        fields: everything that the prompt may state.
        encode: returns the token ids of the prompt that states some fields.
        limit: largest number of tokens.

    Returns:
        The token ids; None if the prompt is too long even without any text.
    """
    for count in range(fields.quotations, -1, -1):
        if len(ids := encode(fields.with_quotations(count))) <= limit:
            return ids
    fields = fields.with_quotations(0)
    for field in CUT_ORDER:
        if (fitting := _longest_cut(fields, field, encode, limit)) is not None:
            return fitting
        fields = fields.cut(field, 0)
    return None


def _longest_cut(fields: PromptFields, field: CutField, encode: Encode, limit: int) -> tuple[int, ...] | None:
    """Return the ids with as many words of a field as a bisection finds to fit; None if not even none of them do."""
    best = encode(fields.cut(field, 0))
    if len(best) > limit:
        return None
    fits, too_many = 0, len(getattr(fields, field) or ())  # a text has at least as many characters as words
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if len(ids := encode(fields.cut(field, middle))) <= limit:
            fits, best = middle, ids
        else:
            too_many = middle
    return best
