"""Decoding in chunks, around base models with different kinds of caches."""

import pytest
import torch
from helpers.checkpoints import FAMILIES, LlamaConfig, MistralConfig, save_base
from helpers.soft_tokens import random_vectors
from helpers.worlds import TINY
from transformers import Gemma2Config

from gavamoe.config import ExplainerConfig
from gavamoe.explainer import build, generate
from gavamoe.language.decoding import NoRepeatInText
from gavamoe.language.decoding_config import DecodingConfig
from gavamoe.language.sampling import pair_keys

WINDOW = {MistralConfig: {"sliding_window": 5}, Gemma2Config: {"sliding_window": 5}}
PROMPTS, END = 6, 2


def sampled(**more):
    return DecodingConfig(do_sample=True, temperature=1.0, top_p=0.95, pad_token_id=0, **more)


@pytest.fixture(params=[*FAMILIES, Gemma2Config], ids=lambda family: family.model_type)
def model(request, tmp_path):
    base = save_base(tmp_path, request.param, **WINDOW.get(request.param, {}))
    built, _ = build.from_base(base, ExplainerConfig(**TINY["explainer"]), 3, random_vectors())
    return built.eval()


def decode_in_chunks(model, decoding, chunk, monkeypatch):
    """Return the token ids of each sequence up to its end token, for prompts of two to seven tokens."""
    monkeypatch.setattr(generate, "CHUNK_TOKENS", chunk)
    torch.manual_seed(0)
    ids = torch.randint(3, 60, (PROMPTS, 7))
    mask = (torch.arange(7) >= torch.arange(PROMPTS)[:, None]).long()
    side = torch.arange(PROMPTS)
    pair_ids = {"user_ids": side % 9, "item_ids": side % 7, "cluster_ids": side % 3}
    keys = pair_keys(side, side, seed=0)
    texts = generate.decode(model, ids.where(mask > 0, 0), mask, pair_ids, decoding, keys)
    return [text[: text.index(decoding.eos_token_id)] if decoding.eos_token_id in text else text for text in texts]


def test_chunks_change_no_token_whatever_the_cache(model, monkeypatch):
    whole = decode_in_chunks(model, sampled(max_new_tokens=16, eos_token_id=END), 100, monkeypatch)
    ends = max({token for text in whole for token in text}, key=lambda token: sum(token in text for text in whole))
    # With a common token as the end token, sequences end at different times and leave the batch one after the other.
    decoding = sampled(max_new_tokens=16, eos_token_id=int(ends), exponential_decay_length_penalty=(9, 1.1))
    whole = decode_in_chunks(model, decoding, 100, monkeypatch)
    assert len(set(map(len, whole))) > 1
    for chunk in (1, 3):
        assert decode_in_chunks(model, decoding, chunk, monkeypatch) == whole


def test_an_ngram_of_the_prompt_may_occur_once_and_one_of_the_text_not_again():
    ids = torch.tensor([[7, 8, 9, 1, 7, 8], [1, 7, 8, 9, 7, 8]])  # a prompt of four tokens, a text of two
    banned = NoRepeatInText(3, 4)(ids, torch.zeros(2, 20))
    assert banned.isfinite().all()
    banned = NoRepeatInText(3, 1)(ids, torch.zeros(2, 20))
    assert not banned[1, 9].isfinite()
    assert banned.isfinite().sum() == 39


def test_chunks_respect_the_smallest_and_largest_length(tmp_path, monkeypatch):
    base = save_base(tmp_path, LlamaConfig)
    built, _ = build.from_base(base, ExplainerConfig(**TINY["explainer"]), 3, random_vectors())
    decoding = sampled(min_new_tokens=5, max_new_tokens=9, eos_token_id=10)
    lengths = [len(text) for text in decode_in_chunks(built.eval(), decoding, 2, monkeypatch)]
    assert min(lengths) >= 5
    assert max(lengths) <= 9
