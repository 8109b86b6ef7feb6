"""The loss of given texts agrees with the validation loss and does not depend on the batch."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from gavamoe.conditions import TRUTH, Condition
from gavamoe.data.dataset import ReviewDataset
from gavamoe.explainer import text_loss
from gavamoe.explainer.dataset import Collator, ExplanationDataset
from gavamoe.explainer.validation import validation_loss


@pytest.fixture(scope="module")
def reviews(dataset_path) -> pl.DataFrame:
    return ReviewDataset.load(dataset_path).interactions("test").head(20)


def test_the_losses_sum_to_the_validation_loss(explainer, reviews, tiny_config):
    nats, tokens = explainer.text_losses(reviews, reviews["text"].to_list(), TRUTH)
    pairs, _ = explainer.context.build(reviews, TRUTH)
    texts = reviews["text"].to_list()
    dataset = ExplanationDataset(pairs, texts, explainer.prompt, tiny_config.explainer, 0, hide=False)
    expected = validation_loss(
        explainer.model, dataset, Collator(explainer.tokenizer.pad_token_id), explainer.model.device
    )
    assert nats.sum() / tokens.sum() == pytest.approx(expected, rel=1e-5)


def test_a_loss_does_not_depend_on_the_batch(explainer, reviews, monkeypatch):
    texts = reviews["text"].to_list()
    together = explainer.text_losses(reviews, texts)
    monkeypatch.setattr(text_loss, "BATCH_TOKENS", 1)
    alone = explainer.text_losses(reviews, texts)
    np.testing.assert_allclose(together[0], alone[0], rtol=1e-4)
    np.testing.assert_array_equal(together[1], alone[1])


def test_the_prompt_of_the_condition_is_read(explainer, reviews):
    texts = reviews["text"].to_list()
    losses = [explainer.text_losses(reviews, texts, Condition(rating, "none"))[0] for rating in ("none", "given")]
    assert not np.allclose(*losses)


def test_no_texts_have_no_loss(explainer, reviews):
    assert [len(part) for part in explainer.text_losses(reviews.head(0), [])] == [0, 0]
