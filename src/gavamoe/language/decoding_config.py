"""How texts are decoded."""

from __future__ import annotations

from transformers import GenerationConfig, PreTrainedTokenizerBase

from gavamoe.config import ExplainerConfig

# A loop of words is not an explanation; and a text that grows long is led to its end, not cut off.
NO_REPEAT_NGRAM = 3


LENGTH_PENALTY_START, LENGTH_PENALTY_RATE = 0.6, 1.1


DECODING = (
    "temperature",
    "top_p",
    "candidates",
    "mbr_references",
)  # settings of `ExplainerConfig` that no weight depends on


def generation_settings(config: ExplainerConfig, tokenizer: PreTrainedTokenizerBase) -> GenerationConfig:
    """How a run's texts are decoded, as transformers keeps it (generation_config.json)."""
    sampling = {
        "do_sample": True,
        "temperature": config.temperature,
        "top_p": config.top_p,
        "candidates": config.candidates,
        "heard": config.mbr_references,
    }
    return GenerationConfig(
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        max_new_tokens=config.max_tokens + 1,
        no_repeat_ngram_size=NO_REPEAT_NGRAM,
        exponential_decay_length_penalty=(int(LENGTH_PENALTY_START * config.max_tokens), LENGTH_PENALTY_RATE),
        **(sampling if config.temperature > 0 else {"do_sample": False}),
    )


def drafts_of(generation: GenerationConfig) -> int:
    """How many drafts of each text are drawn; without sampling all would be the same."""
    sampled = generation.do_sample and (generation.num_beams or 1) == 1
    return int(getattr(generation, "candidates", None) or 1) if sampled else 1
