"""Batches of interactions in memory or on disk."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gavamoe.data.dataset import InteractionArrays, ReviewDataset
from gavamoe.preference import batches as batches_module
from gavamoe.preference.batches import Interactions


def numbered(count: int) -> Interactions:
    row = np.arange(1, count + 1)
    return Interactions(InteractionArrays(row, row + 1, row % 5 + 1))


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 200), size=st.integers(1, 50), block=st.integers(1, 40), pool=st.integers(1, 5))
def test_an_epoch_visits_every_row_once_and_keeps_columns_aligned(count, size, block, pool):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches_module, "BLOCK", block)
        patch.setattr(batches_module, "POOL", pool)
        batches = list(numbered(count).shuffled(size))
    assert max(map(len, batches)) <= size
    user_N, item_N, level_N = (
        torch.cat([getattr(b, name) for b in batches]) for name in ("user_B", "item_B", "level_B")
    )
    assert sorted(user_N.tolist()) == list(range(1, count + 1))
    assert torch.equal(item_N, user_N + 1)
    assert torch.equal(level_N, user_N % 5)


def test_a_split_that_fits_in_one_pool_is_shuffled_completely():
    torch.manual_seed(0)
    first = next(iter(numbered(5000).shuffled(100))).user_B.double()
    assert first.mean() == pytest.approx(2500, abs=5 * 1450 / 10)
    assert not torch.equal(first, first.sort().values)


def test_memory_mapped_columns_equal_the_arrays(dataset_path, tmp_path):
    dataset = ReviewDataset.load(dataset_path)
    mapped = dataset.mapped_arrays(tmp_path / "columns")
    for split, columns in mapped.items():
        loaded = dataset.arrays(split)
        for name in ("user_id", "item_id", "level"):
            assert isinstance(getattr(columns, name), np.memmap)
            np.testing.assert_array_equal(getattr(columns, name), getattr(loaded, name))
    assert sum(map(len, mapped.values())) == len(dataset)


def test_counts_do_not_depend_on_the_block_size(monkeypatch):
    pairs = numbered(100)
    whole = pairs.counts(100, 101)
    monkeypatch.setattr(batches_module, "BLOCK", 7)
    monkeypatch.setattr(batches_module, "POOL", 1)
    for counts, again in zip(whole, pairs.counts(100, 101), strict=True):
        assert torch.equal(counts, again)
    assert whole[0].tolist() == [0, *[1] * 100]


@given(at_most=st.integers(1, 120))
def test_a_sample_is_small_enough_and_evenly_spaced(at_most):
    sample = numbered(100).sample(at_most).user_B
    assert len(sample) <= at_most
    assert len(set(sample.tolist())) == len(sample) >= min(at_most, 100) / 2
    assert len(set(sample.diff().tolist())) <= 1


def test_drop_ids_replaces_ids_and_keeps_levels():
    torch.manual_seed(0)
    batch = numbered(10_000).sample(10_000)
    dropped = batch.drop_ids(0.2)
    assert (dropped.user_B == 0).float().mean() == pytest.approx(0.2, abs=0.02)
    assert ((dropped.item_B == 0) | (dropped.item_B == batch.item_B)).all()
    assert torch.equal(dropped.level_B, batch.level_B)
