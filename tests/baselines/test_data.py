"""All text systems get the same tokens, and the same facts are withheld from them in training."""

import numpy as np
import torch

from gavamoe.baselines.data import pad_rows
from gavamoe.language.encoding import IGNORED


def test_the_tokenizer_is_that_of_gavamoe(data, explainer):
    assert data.corpus_vocabulary.tokenizer.get_vocab() == explainer.tokenizer.get_vocab()


def test_an_epoch_has_every_review_once_and_each_epoch_withholds_other_facts(data):
    rows, seen = data.corpus_vocabulary.train, {}
    for epoch in (0, 1):
        batches = list(data.corpus_vocabulary.training_batches(0, epoch))
        assert sum(map(len, batches)) == len(rows)
        texts = sorted(tuple(t for t in row if t != IGNORED) for batch in batches for row in batch.text_BT.tolist())
        assert texts == sorted(map(tuple, rows.texts))
        hidden = [int((batch.level_B == 0).sum()) for batch in batches]
        assert 0 < sum(hidden) < len(rows)
        seen[epoch] = hidden
    assert seen[0] != seen[1]


def test_an_epoch_is_reproducible(data):
    first, second = (list(data.corpus_vocabulary.training_batches(3, 2)) for _ in range(2))
    assert all(
        torch.equal(a.text_BT, b.text_BT) and torch.equal(a.user_B, b.user_B)
        for a, b in zip(first, second, strict=True)
    )


def test_withheld_facts_are_absent_from_the_input_and_the_target_rating_stays(data):
    rows = data.corpus_vocabulary.train
    batch = data.corpus_vocabulary.batch(rows, np.arange(4), np.ones((len(rows), 4), dtype=bool))
    assert batch.user_B.tolist() == batch.item_B.tolist() == batch.level_B.tolist() == [0] * 4
    assert (batch.feature_BF == data.corpus_vocabulary.pad).all()
    assert batch.rating_B.tolist() == rows.level_N[:4].tolist()


def test_rows_are_padded_on_either_side():
    assert pad_rows([[1, 2], [3]], 9).tolist() == [[1, 2], [3, 9]]
    assert pad_rows([[1, 2], [3]], 9, left=True).tolist() == [[1, 2], [9, 3]]
    assert pad_rows([[], []], 9).shape == (2, 0)
