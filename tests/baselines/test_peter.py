"""PETER: its mask, its context loss, and the feature in PETER+."""

import dataclasses

import pytest
import torch

from gavamoe.baselines.peter import ITEM, PETER, USER


@pytest.fixture
def peter(data):
    return PETER(data, 32).eval()


def test_user_and_item_attend_to_each_other_and_words_attend_to_earlier_positions(peter):
    mask = peter.mask(torch.ones(1, 6, dtype=torch.bool))[0]
    expected = torch.ones(6, 6).tril().bool()
    expected[USER, ITEM] = True
    assert torch.equal(mask, expected)


def test_the_output_at_the_user_depends_on_the_item_and_not_on_the_text(peter, batch):
    user, item = batch.user_B[:4], batch.item_B[:4]
    assert not torch.allclose(peter.rate(user, item), peter.rate(user, item % 20 + 1))
    hidden, _ = peter._forward(batch, batch.text_BT.clamp_min(0))
    assert torch.allclose(peter._rating_from(hidden), peter.rate(batch.user_B, batch.item_B), atol=1e-5)


def test_a_later_word_does_not_change_earlier_outputs(peter, batch):
    inputs = batch.text_BT.clamp_min(0)
    changed = inputs.clone()
    changed[:, 5] = (changed[:, 5] + 1) % peter.bias.numel()
    before, after = (peter._forward(batch, ids)[0] for ids in (inputs, changed))
    place = peter.prefix + 5
    assert torch.allclose(before[:, :place], after[:, :place], atol=1e-5)
    assert not torch.allclose(before[:, place:], after[:, place:], atol=1e-3)


def test_the_context_is_predicted_from_the_item_position_alone(peter, batch):
    hidden, _ = peter._forward(batch, batch.text_BT.clamp_min(0))
    hidden.retain_grad()
    peter._context_loss(hidden, batch.text_BT).backward()
    touched = hidden.grad.abs().sum((0, 2)) > 0
    assert touched.nonzero().flatten().tolist() == [ITEM]


def test_the_context_loss_does_not_depend_on_the_order_of_the_words(peter, batch):
    hidden, _ = peter._forward(batch, batch.text_BT.clamp_min(0))
    shuffled = batch.text_BT[:, torch.randperm(batch.text_BT.shape[1])]
    assert torch.allclose(peter._context_loss(hidden, batch.text_BT), peter._context_loss(hidden, shuffled))


def test_only_peter_plus_uses_the_feature(data, batch):
    shown = dataclasses.replace(batch, feature_BF=torch.full_like(batch.feature_BF, 300))
    hidden = dataclasses.replace(batch, feature_BF=torch.full_like(batch.feature_BF, data.corpus_vocabulary.pad))
    for with_feature in (False, True):
        model = PETER(data, 32, with_feature).eval()
        same = torch.allclose(model.prefill(shown)[0], model.prefill(hidden)[0])
        assert same is not with_feature


def test_a_withheld_feature_is_masked(data, batch):
    model = PETER(data, 32, with_feature=True).eval()
    visible = model._visible(dataclasses.replace(batch, feature_BF=torch.full_like(batch.feature_BF, model.pad)), 3)
    assert not model.mask(visible)[:, model.prefix :, 2 : model.prefix].any()
