"""Generation in legs, around base models whose caches are not alike."""

import pytest
import torch
from helpers.checkpoints import FAMILIES, LlamaConfig, MistralConfig, save_base
from helpers.worlds import TINY
from transformers import Gemma2Config, GenerationConfig

from gavamoe.config import ExplainerConfig
from gavamoe.explainer import build, generate
from gavamoe.language.sampling import pair_keys

WINDOW = {MistralConfig: {"sliding_window": 5}, Gemma2Config: {"sliding_window": 5}}
PROMPTS, END = 6, 2


def sampled(**more):
    return GenerationConfig(do_sample=True, temperature=1.0, top_p=0.95, pad_token_id=0, **more)


@pytest.fixture(params=[*FAMILIES, Gemma2Config], ids=lambda family: family.model_type)
def model(request, tmp_path):
    base = save_base(tmp_path, request.param, **WINDOW.get(request.param, {}))
    built, _ = build.from_base(base, ExplainerConfig(**TINY["explainer"]), 3, (torch.randn(9, 4), torch.randn(7, 4)))
    return built.eval()


def decoded(model, generation, chunk, monkeypatch):
    """Token ids of each sequence up to its end, for prompts of two to seven tokens."""
    monkeypatch.setattr(generate, "CHUNK_TOKENS", chunk)
    torch.manual_seed(0)
    ids = torch.randint(3, 60, (PROMPTS, 7))
    mask = (torch.arange(7) >= torch.arange(PROMPTS)[:, None]).long()
    side = torch.arange(PROMPTS)
    sides = {"user_ids": side % 9, "item_ids": side % 7, "cluster_ids": side % 3}
    keys = pair_keys(side, side, seed=0)
    texts = generate.decode(model, ids.where(mask > 0, 0), mask, sides, generation, keys)
    return [text[: text.index(generation.eos_token_id)] if generation.eos_token_id in text else text for text in texts]


def test_legs_change_no_token_whatever_the_cache(model, monkeypatch):
    whole = decoded(model, sampled(max_new_tokens=16, eos_token_id=END), 100, monkeypatch)
    ends = max({token for text in whole for token in text}, key=lambda token: sum(token in text for text in whole))
    # With a common token as the end, sequences end at different times and leave one after the other.
    generation = sampled(max_new_tokens=16, eos_token_id=int(ends), exponential_decay_length_penalty=(9, 1.1))
    whole = decoded(model, generation, 100, monkeypatch)
    assert len(set(map(len, whole))) > 1
    for chunk in (1, 3):
        assert decoded(model, generation, chunk, monkeypatch) == whole


def test_what_the_prompt_says_may_be_said_and_what_the_text_says_not_twice():
    said = torch.tensor([[7, 8, 9, 1, 7, 8], [1, 7, 8, 9, 7, 8]])  # a prompt of four tokens, a text of two
    banned = generate.NoRepeatInText(3, 4)(said, torch.zeros(2, 20))
    assert banned.isfinite().all()
    banned = generate.NoRepeatInText(3, 1)(said, torch.zeros(2, 20))
    assert not banned[1, 9].isfinite()
    assert banned.isfinite().sum() == 39


def test_no_text_is_shorter_or_longer_than_asked_in_any_leg(tmp_path, monkeypatch):
    base = save_base(tmp_path, LlamaConfig)
    built, _ = build.from_base(base, ExplainerConfig(**TINY["explainer"]), 3, (torch.randn(9, 4), torch.randn(7, 4)))
    generation = sampled(min_new_tokens=5, max_new_tokens=9, eos_token_id=10)
    lengths = [len(text) for text in decoded(built.eval(), generation, 2, monkeypatch)]
    assert min(lengths) >= 5
    assert max(lengths) <= 9
