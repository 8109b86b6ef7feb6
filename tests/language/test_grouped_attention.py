"""The attention for bf16 on a CPU equals the attention of transformers: padding, cache, shared heads, gradients."""

import pytest
import torch
from helpers.checkpoints import FAMILIES, save_base
from transformers import AutoModelForCausalLM

from gavamoe.language.grouped_attention import GROUPED_PRODUCTS, grouped_products

HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}


@pytest.fixture(params=FAMILIES, ids=lambda family: family.__name__)
def lm(request, tmp_path):
    return AutoModelForCausalLM.from_pretrained(save_base(tmp_path, request.param, **HEADS))


def padded_batch():
    ids = torch.randint(20, 60, (4, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, :4] = 0
    return ids, mask


def test_logits_and_gradients_equal_those_of_the_fused_attention(lm):
    ids, mask = padded_batch()
    found = {}
    for attention in ("sdpa", GROUPED_PRODUCTS):
        lm.set_attn_implementation(attention)
        logits = lm(ids, attention_mask=mask).logits[mask == 1]
        parameters = [weight for weight in lm.parameters() if weight.requires_grad]
        found[attention] = logits, *torch.autograd.grad(logits.logsumexp(-1).sum(), parameters, allow_unused=True)
    for fused, grouped in zip(*found.values(), strict=True):
        if fused is None:
            assert grouped is None
        else:
            torch.testing.assert_close(grouped, fused, rtol=1e-4, atol=1e-5)


def test_texts_that_are_decoded_with_a_cache_are_the_same(lm):
    ids, mask = padded_batch()
    texts = []
    for attention in ("sdpa", GROUPED_PRODUCTS):
        lm.set_attn_implementation(attention)
        texts.append(lm.generate(ids, attention_mask=mask, max_new_tokens=8, min_new_tokens=8, pad_token_id=0))
    assert torch.equal(*texts)


def test_an_argument_that_would_change_the_result_is_refused():
    query = torch.randn(1, 4, 3, 8)
    with pytest.raises(ValueError, match="attends with softcap"):
        grouped_products(None, query, query, query, None, softcap=30.0)


def test_weights_are_dropped_in_training_only(lm):
    ids, mask = padded_batch()
    lm.set_attn_implementation(GROUPED_PRODUCTS)
    for module in lm.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.5
    with torch.no_grad():
        once, again = (lm.train()(ids, attention_mask=mask).logits for _ in range(2))
        calm, still = (lm.eval()(ids, attention_mask=mask).logits for _ in range(2))
    assert not torch.equal(once, again)
    assert torch.equal(calm, still)
