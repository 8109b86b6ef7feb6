"""An answer without the language model: predicted rating, strongest features and evidence, in a fixed sentence.

A request may ask for it in case its deadline passes. It is marked with `"source": "template"`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from gavamoe.conditions import Condition
from gavamoe.explainer.explainer import Explainer
from gavamoe.preference.history import History

FEATURES = 3


def explain_by_template(
    explainer: Explainer, frame: pl.DataFrame, condition: Condition, evidence: int, histories: Sequence[History | None]
) -> list[dict[str, Any]]:
    """Return explanations of pairs in the form of `Explanation.to_dict`, in the order of the pairs.

    Args:
        explainer: the run.
        frame: columns user and item; rating and feature where the condition says `given`.
        condition: where rating and feature come from.
        evidence: sentences by other users for each pair.
        histories: one for each pair, as in `Explainer.explain_batch`.
    """
    explainer, guest_ids = explainer.with_guests(histories)
    pairs, predicted = explainer.context.build(frame, condition, guest_ids)
    low, high = explainer.catalog.scale.bounds
    texts = []
    for row, rating in enumerate(explainer.catalog.scale.to_rating(predicted.level)):
        features = explainer.context.features.strongest(int(pairs.user_id[row]), int(pairs.item_id[row]), FEATURES)
        stated = pairs.feature[row]
        features = [stated, *(name for name in features if name != stated)][:FEATURES] if stated else features
        text = f"Predicted rating {rating:.1f} on a scale of {low:g} to {high:g}."
        if features:
            text += f" What counts most for this user and item: {', '.join(features)}."
        texts.append((text, True))
    explanations = explainer.explanations(frame, pairs, predicted, condition, evidence, texts)
    return [explanation.to_dict() for explanation in explanations]
