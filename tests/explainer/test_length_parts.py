"""Parts of a batch: all rows once, less padding, and the gradient of the whole batch."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from gavamoe.explainer.dataset import Collator
from gavamoe.explainer.length_parts import PARTS, split_by_length
from gavamoe.language.encoding import IGNORED

CPU = torch.device("cpu")


def batch_of(lengths):
    rows = [
        {
            "input_ids": [1 + number] * length,
            "labels": [IGNORED] + [1 + number] * (length - 1),
            **dict.fromkeys(("user_ids", "item_ids", "cluster_ids"), number),
        }
        for number, length in enumerate(lengths)
    ]
    return Collator(pad_id=0)(rows)


def positions(parts):
    return sum(part["input_ids"].numel() for part in parts)


@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=40), cost=st.integers(1, 500))
def test_parts_have_every_row_once_and_cost_no_more_than_the_batch(lengths, cost):
    batch = batch_of(lengths)
    parts = split_by_length(batch, cost, CPU)
    assert len(parts) in PARTS
    assert positions(parts) + cost * len(parts) <= positions([batch]) + cost
    found = {}
    for part in parts:
        assert int(part["attention_mask"].sum(1).max()) == part["input_ids"].shape[1]
        for row in range(len(part["user_ids"])):
            length = int(part["attention_mask"][row].sum())
            assert set(part["input_ids"][row, :length].tolist()) == {1 + int(part["user_ids"][row])}
            assert int((part["labels"][row] != IGNORED).sum()) == length - 1
            found[int(part["cluster_ids"][row])] = length
    assert found == dict(enumerate(lengths))


def test_rows_of_one_length_stay_one_batch():
    batch = batch_of([20] * 16)
    assert split_by_length(batch, 1, CPU) == [batch]
