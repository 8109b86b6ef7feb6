"""Sampling that depends on the pair and the seed only."""

import numpy as np
import pytest
import torch
from scipy import stats

from gavamoe.language.sampling import PairSampling, gumbel_noise, pair_keys, splitmix64


def test_the_noise_is_gumbel_and_uncorrelated_between_neighbours():
    noise = gumbel_noise(splitmix64(torch.arange(200_000)))
    assert stats.kstest(noise.numpy(), "gumbel_r").pvalue > 0.001
    assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < 0.01


def test_tokens_are_sampled_with_their_softmax_probabilities():
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0])
    count = 40_000
    keys = pair_keys(torch.arange(count), torch.zeros(count, dtype=torch.long), seed=0)
    sampling = PairSampling(keys, prompt_width=3, temperature=1.0, top_p=1.0)
    drawn = sampling(torch.zeros(count, 3, dtype=torch.long), logits.expand(count, 4)).argmax(-1)
    frequency = torch.bincount(drawn, minlength=4) / count
    torch.testing.assert_close(frequency, logits.softmax(-1), atol=0.01, rtol=0)


def test_only_tokens_of_the_nucleus_are_sampled():
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))
    keys = pair_keys(torch.arange(5000), torch.zeros(5000, dtype=torch.long), seed=0)
    drawn = PairSampling(keys, 1, 1.0, top_p=0.6)(torch.zeros(5000, 1, dtype=torch.long), logits.expand(5000, 4))
    assert set(drawn.argmax(-1).tolist()) == {0, 1}


def test_a_sample_does_not_depend_on_a_sequence_in_the_batch_with_a_wide_nucleus():
    torch.manual_seed(0)
    logits = torch.randn(8, 1000) * torch.tensor([[8.0]] * 7 + [[0.1]])  # the last row's is wide
    keys = pair_keys(torch.arange(8), torch.zeros(8, dtype=torch.long), seed=0)
    written = torch.zeros(8, 1, dtype=torch.long)
    together = PairSampling(keys, 1, 1.0, 0.9)(written, logits)
    alone = [PairSampling(keys[row], 1, 1.0, 0.9)(written[row], logits[row]) for row in torch.arange(8).split(1)]
    assert torch.equal(together.argmax(-1), torch.cat(alone).argmax(-1))
    assert together[-1].isfinite().sum() > 200 > 30 > together[0].isfinite().sum()


def test_a_sampled_text_depends_on_pair_and_seed_and_not_on_the_batch(explainer):
    pairs = [(f"u{i:02d}", f"i{i % 9 + 1:02d}") for i in range(1, 13)]
    options = {"do_sample": True, "temperature": 1.0, "top_p": 0.95}
    together = [e.text for e in explainer.explain_batch(pairs, **options)]
    assert [explainer.explain_batch([pair], **options)[0].text for pair in pairs] == together
    assert [e.text for e in explainer.explain_batch(pairs[::-1], **options)] == together[::-1]
    assert [e.text for e in explainer.explain_batch(pairs, seed=1, **options)] != together


@pytest.mark.parametrize("value", [0, 1, -1, 2**63 - 1, -(2**63)])
def test_the_hash_takes_any_int64(value):
    assert splitmix64(torch.tensor([value])).dtype == torch.int64
