"""The preset `auto`: settings of stage 2 by the number of training reviews, as `docs/studies/sizes.md` measured them.

A language model that is trained from scratch on few reviews needs many epochs: with a fixed number of them it takes
too few steps. With a base model, the commands take the preset `pretrained` instead. Early stopping
(`explainer.patience`) ends the training where the validation loss no longer falls.
"""

from __future__ import annotations

from typing import Any

STEPS = 1000  # optimiser steps that a training from scratch is given, if early stopping does not end it before
LEAST_EPOCHS, MOST_EPOCHS = 7, 40
BATCH = 16


def auto_settings(reviews: int) -> dict[str, Any]:
    """Return the settings for a number of training reviews with a text.

    Args:
        reviews: how many; 0 for data without texts.
    """
    steps_per_epoch = max(1, -(-reviews // BATCH))
    epochs = min(MOST_EPOCHS, max(LEAST_EPOCHS, STEPS // steps_per_epoch))
    return {"explainer": {"batch_size": BATCH, "epochs": epochs}}
