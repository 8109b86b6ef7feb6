"""All text systems read the same tokens, and the same facts are hidden from them."""

import numpy as np
import torch

from gavamoe.baselines.batches import padded
from gavamoe.language.encoding import IGNORED


def test_the_subwords_are_those_of_our_own_model(data, explainer):
    assert data.own.tokenizer.get_vocab() == explainer.tokenizer.get_vocab()


def test_an_epoch_shows_every_review_once_and_another_epoch_hides_other_facts(data):
    rows, seen = data.own.train, {}
    for epoch in (0, 1):
        batches = list(data.own.training_batches(0, epoch))
        assert sum(map(len, batches)) == len(rows)
        texts = sorted(tuple(t for t in row if t != IGNORED) for batch in batches for row in batch.text_BT.tolist())
        assert texts == sorted(map(tuple, rows.texts))
        hidden = [int((batch.level_B == 0).sum()) for batch in batches]
        assert 0 < sum(hidden) < len(rows)
        seen[epoch] = hidden
    assert seen[0] != seen[1]


def test_the_same_epoch_again_is_the_same(data):
    first, second = (list(data.own.training_batches(3, 2)) for _ in range(2))
    assert all(
        torch.equal(a.text_BT, b.text_BT) and torch.equal(a.user_B, b.user_B)
        for a, b in zip(first, second, strict=True)
    )


def test_hidden_facts_are_gone_from_the_input_and_the_rating_to_predict_stays(data):
    rows = data.own.train
    batch = data.own.batch(rows, np.arange(4), np.ones((len(rows), 4), dtype=bool))
    assert batch.user_B.tolist() == batch.item_B.tolist() == batch.level_B.tolist() == [0] * 4
    assert (batch.feature_BF == data.own.pad).all()
    assert batch.rating_B.tolist() == rows.level_N[:4].tolist()


def test_padding_goes_to_either_side():
    assert padded([[1, 2], [3]], 9).tolist() == [[1, 2], [3, 9]]
    assert padded([[1, 2], [3]], 9, left=True).tolist() == [[1, 2], [9, 3]]
    assert padded([[], []], 9).shape == (2, 0)
