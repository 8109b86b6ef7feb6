"""Att2Seq and NRT: attention over attributes; embeddings shared by rating and text."""

import dataclasses

import torch

from gavamoe.baselines.att2seq import Att2Seq
from gavamoe.baselines.nrt import NRT


def test_att2seq_attends_to_the_three_attributes_at_every_step(data, batch):
    model = Att2Seq(data, 32)
    attributes = model._attributes(batch)
    weights = model.attention(torch.randn(len(batch), 7, 32), attributes)
    assert weights.shape == (len(batch), 7, 3)
    assert torch.allclose(weights.sum(-1), torch.ones(len(batch), 7))
    assert weights.std(dim=1).max() > 0  # by step


def test_each_attribute_changes_the_logits_of_att2seq(data, batch):
    model = Att2Seq(data, 32).eval()
    first, _ = model.prefill(batch)
    for name in ("user_B", "item_B", "level_B"):
        other = dataclasses.replace(batch, **{name: (getattr(batch, name) + 1) % 5})
        assert not torch.allclose(first, model.prefill(other)[0])


def test_both_losses_of_nrt_train_the_user_and_item_embeddings(data, batch):
    model = NRT(data, 32)
    for loss in (model.losses(batch, "").text, model.losses(batch, "").auxiliary):
        model.zero_grad()
        loss.backward()
        for table in (model.user, model.item):
            assert table.weight.grad is not None
            assert table.weight.grad.abs().sum() > 0


def test_the_input_rating_changes_the_text_of_nrt_and_not_its_rating(data, batch):
    model = NRT(data, 32).eval()
    low, high = (dataclasses.replace(batch, level_B=torch.full_like(batch.level_B, level)) for level in (1, 5))
    assert not torch.allclose(model.prefill(low)[0], model.prefill(high)[0])
    assert torch.equal(model.rate(low.user_B, low.item_B), model.rate(high.user_B, high.item_B))
