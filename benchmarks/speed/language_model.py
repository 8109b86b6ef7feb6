"""Time training against the published method, and generation in batches against one pair at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from published import publish
from timing import DEVICE, seconds
from transformers import PreTrainedTokenizerBase

from gavamoe.config import ExplainerConfig, load_config
from gavamoe.explainer import build
from gavamoe.explainer.context import PairContext
from gavamoe.explainer.dataset import Collator, ExplanationDataset
from gavamoe.explainer.generate import generate
from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.explainer.soft_tokens import SoftTokenVectors
from gavamoe.language.decoding_config import DecodingConfig
from gavamoe.language.encoding import PromptEncoder

CONFIG = load_config("small").explainer
ROUTED_ONLY = CONFIG.model_copy(update={"shared_experts": 0})  # as the published layer
CLUSTERS, IDS, WORDS = 5, 1000, 25  # words per text
SEQUENCES = 64  # per turn of training
PAIRS, PAIRS_ALONE, NEW_TOKENS = 1000, 20, 30


def _world(config: ExplainerConfig) -> tuple[GavamoeForCausalLM, PreTrainedTokenizerBase, list[str]]:
    """Return a model, untrained, its tokenizer, and texts of random words."""
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdeilmnorst"), rng.integers(2, 8))) for _ in range(3000)]
    texts = [" ".join(rng.choice(words, rng.integers(WORDS - 10, WORDS + 10))) for _ in range(2000)]
    torch.manual_seed(0)
    width = 32 + config.soft_token_width
    vectors = SoftTokenVectors(torch.randn(IDS + 1, width), torch.randn(IDS + 1, width))
    model, tokenizer = build.from_scratch(texts, config.resolve_defaults(base=False), CLUSTERS, vectors)
    return model.to(DEVICE), tokenizer, texts


def _pairs(count: int) -> PairContext:
    ids = np.arange(count, dtype=np.int64)
    return PairContext(ids % IDS + 1, ids * 7 % IDS + 1, ids % CLUSTERS, [3] * count, [None] * count)


def training(rounds: int) -> list[dict[str, Any]]:
    """Return tokens per second in batches of the default size, and as published: one sequence per batch and step.

    The default model is timed with its shared experts and without them; the published layer has none. The last variant
    is the published one with gradient accumulation: it takes as few optimizer steps as GaVaMoE.
    """
    model, tokenizer, texts = _world(CONFIG)
    routed, other, third = (_world(ROUTED_ONLY)[0] for _ in range(3))
    rows = ExplanationDataset(
        _pairs(SEQUENCES), texts[:SEQUENCES], PromptEncoder(tokenizer), CONFIG, seed=0, hide=False
    )
    collate = Collator(tokenizer.pad_token_id)
    order = sorted(range(SEQUENCES), key=lambda row: rows.lengths[row])
    by_step = [order[start : start + CONFIG.batch_size] for start in range(0, SEQUENCES, CONFIG.batch_size)]
    clusters = [row % CLUSTERS for row in order]
    ways = {
        "GaVaMoE": _epoch(model, [[[rows[row] for row in step]] for step in by_step], collate),
        "GaVaMoE without shared experts": _epoch(routed, [[[rows[row] for row in step]] for step in by_step], collate),
        "published": _epoch(publish(other, clusters), [[[rows[row]]] for row in order], collate),
        "published, accumulating": _epoch(
            publish(third, clusters), [[[rows[row]] for row in step] for step in by_step], collate
        ),
    }
    tokens = sum(len(rows[row]["input_ids"]) for row in order)
    speed = {way: tokens / spent for way, spent in seconds(ways, rounds).items()}
    return [
        {"way": way, "tokens_per_second": speed[way], "times_slower_than_gavamoe": speed["GaVaMoE"] / speed[way]}
        for way in ways
    ]


def _epoch(
    model: GavamoeForCausalLM, steps: list[list[list[dict[str, Any]]]], collate: Collator
) -> Callable[[], object]:
    """Return a job that trains on steps of batches of rows, with an optimizer step after the batches of each step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.train()

    def run() -> None:
        for batches in steps:
            for batch in batches:
                tensors = {name: tensor.to(DEVICE) for name, tensor in collate(batch).items()}
                (model(**tensors).loss / len(batches)).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return run


def generation(rounds: int) -> dict[str, Any]:
    """Return pairs per second with 30 tokens each: 1,000 pairs in one call, and fewer pairs in one call each."""
    model, tokenizer, _ = _world(CONFIG)
    prompt = PromptEncoder(tokenizer)
    greedy = DecodingConfig(
        do_sample=False,
        min_new_tokens=NEW_TOKENS,
        max_new_tokens=NEW_TOKENS,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )

    def one_at_a_time() -> None:
        for row in range(PAIRS_ALONE):
            pair = _pairs(PAIRS)
            only = PairContext(
                pair.user_id[row : row + 1], pair.item_id[row : row + 1], pair.gate[row : row + 1], [3], [None]
            )
            list(generate(model, prompt, only, greedy))

    ways = {"together": lambda: list(generate(model, prompt, _pairs(PAIRS), greedy)), "alone": one_at_a_time}
    taken = seconds(ways, rounds)
    speed = {"together": PAIRS / taken["together"], "alone": PAIRS_ALONE / taken["alone"]}
    about = {"pairs": PAIRS, "pairs_alone": PAIRS_ALONE, "new_tokens": NEW_TOKENS}
    return {"pairs_per_second": speed, **about, "times": speed["together"] / speed["alone"]}
