"""How texts are decoded: one immutable record, stored inside transformers' generation_config.json.

ExplainerConfig --from_settings--> DecodingConfig --to_generation_config--> generation_config.json (in the run)
                                         |  ^------------from_pretrained--------------'
                                         '--with_options(num_beams=3, ...)--> another DecodingConfig for one call
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from math import inf
from pathlib import Path
from typing import Any

from transformers import GenerationConfig, PreTrainedTokenizerBase

from gavamoe.config import ExplainerConfig
from gavamoe.errors import ConfigError
from gavamoe.language.quiet import quiet_transformers

# Settings of `ExplainerConfig` that only decoding reads: no trained weight depends on them.
DECODING_SETTINGS = ("temperature", "top_p", "candidates", "mbr_references", "mbr_content_words")

NO_REPEAT_NGRAM = 3  # no trigram occurs twice in a text: a model that repeats itself explains nothing
# From this fraction of the longest text on, each token multiplies the end token's score by the rate (transformers'
# exponential_decay_length_penalty). A long text is then brought to its end instead of being cut off.
LENGTH_PENALTY_START, LENGTH_PENALTY_RATE = 0.6, 1.1

# Keys of generation_config.json that are named otherwise than the fields here.
PERSISTED_NAMES = {"mbr_references": "heard"}
FIELD_NAMES = {persisted: name for name, persisted in PERSISTED_NAMES.items()}
# Attributes of GenerationConfig that describe the file, not the decoding.
FILE_ATTRIBUTES = ("transformers_version", "_from_model_config")
# Further options of GenerationConfig that a call may set. With them, a text does not depend on the rest of its batch.
# Others count tokens from the start of `generate`, which is called anew for each chunk, or need its own sampling.
BEAM_OPTIONS = ("length_penalty", "early_stopping")
FURTHER_OPTIONS = ("repetition_penalty", "bad_words_ids", "suppress_tokens", "sequence_bias", *BEAM_OPTIONS)
# Least and largest value of the numbers that a call may set.
LIMITS = {
    "max_new_tokens": (1, inf),
    "min_new_tokens": (0, inf),
    "temperature": (0, inf),
    "top_p": (1e-6, 1),
    "candidates": (1, inf),
    "mbr_references": (0, inf),
    "num_beams": (1, inf),
    "no_repeat_ngram_size": (0, inf),
    "repetition_penalty": (1e-6, inf),
}
FRACTIONS = ("temperature", "top_p", "repetition_penalty")  # the others are whole numbers


@dataclass(frozen=True)
class DecodingConfig:
    """How texts are decoded; passed along and never mutated (`with_options` returns a changed copy).

    None means "not set": the value is left to transformers, whose defaults are greedy search without penalties.

    Args:
        max_new_tokens: longest text, in tokens, the end token included.
        min_new_tokens: shortest text, in tokens.
        eos_token_id: the end token.
        pad_token_id: the padding token.
        do_sample: whether tokens are sampled; otherwise the likeliest is taken. Ignored with beams.
        temperature: divides the logits before sampling.
        top_p: probability mass of the nucleus that sampling draws from.
        candidates: sampled drafts per text, of which minimum Bayes risk keeps one (`gavamoe.language.mbr`).
        mbr_references: sentences by the user, and sentences about the item, that the drafts are compared with.
        mbr_content_words: whether the comparison weighs words by their rarity (`gavamoe.language.rarity`).
        num_beams: beams of beam search.
        no_repeat_ngram_size: length of the n-grams that may occur only once in a text.
        exponential_decay_length_penalty: (first token, rate) of the growing preference for the end token.
        options: further options of transformers' GenerationConfig. Those of a file are kept. Decoding reads
            FURTHER_OPTIONS.
    """

    max_new_tokens: int
    min_new_tokens: int | None = None
    eos_token_id: int | None = None
    pad_token_id: int | None = None
    do_sample: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    candidates: int | None = None
    mbr_references: int | None = None
    mbr_content_words: bool | None = None
    num_beams: int | None = None
    no_repeat_ngram_size: int | None = None
    exponential_decay_length_penalty: tuple[int, float] | None = None
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def from_settings(cls, config: ExplainerConfig, tokenizer: PreTrainedTokenizerBase) -> DecodingConfig:
        """Return the decoding that a run's settings ask for, with the special tokens of its tokenizer."""
        sampling: dict[str, Any] = {
            "do_sample": True,
            "temperature": config.temperature,
            "top_p": config.top_p,
            "candidates": config.candidates,
            "mbr_references": config.mbr_references,
            "mbr_content_words": config.mbr_content_words or None,
        }
        return cls(
            max_new_tokens=config.max_tokens + 1,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            no_repeat_ngram_size=NO_REPEAT_NGRAM,
            exponential_decay_length_penalty=(int(LENGTH_PENALTY_START * config.max_tokens), LENGTH_PENALTY_RATE),
            **(sampling if config.temperature > 0 else {"do_sample": False}),
        )

    @classmethod
    def from_pretrained(cls, directory: Path | str) -> DecodingConfig:
        """Read the decoding from the generation_config.json of a directory."""
        with quiet_transformers():
            return cls.from_generation_config(GenerationConfig.from_pretrained(directory))

    @classmethod
    def from_generation_config(cls, generation: GenerationConfig) -> DecodingConfig:
        """Return the decoding that transformers' record describes.

        Raises:
            ValueError: The record does not say how long a text may be.
        """
        stated = {name: value for name, value in generation.to_dict().items() if name not in FILE_ATTRIBUTES}
        if stated.get("max_new_tokens") is None:
            raise ValueError("the generation config lacks max_new_tokens")
        return cls._from_dict(stated)

    @classmethod
    def _from_dict(cls, settings: Mapping[str, Any]) -> DecodingConfig:
        """Return the decoding of settings by name; names without a field become `options`."""
        own = {each.name for each in fields(cls)} - {"options"}
        stated = {FIELD_NAMES.get(name, name): value for name, value in settings.items() if value is not None}
        if "exponential_decay_length_penalty" in stated:  # JSON has lists only
            stated["exponential_decay_length_penalty"] = tuple(stated["exponential_decay_length_penalty"])
        options = {name: value for name, value in stated.items() if name not in own}
        return cls(**{name: value for name, value in stated.items() if name in own}, options=options)

    def to_generation_config(self) -> GenerationConfig:
        """Return transformers' record of this decoding, as a run's generation_config.json holds it."""
        settings = {PERSISTED_NAMES.get(name, name): value for name, value in self._to_dict().items()}
        with quiet_transformers():
            return GenerationConfig(**settings)

    def _to_dict(self) -> dict[str, Any]:
        """Return the settings by name, `options` among them, without those that are not set."""
        own = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "options"}
        return {name: value for name, value in {**own, **self.options}.items() if value is not None}

    def with_options(self, **options: Any) -> DecodingConfig:
        """Return a copy with some settings replaced.

        Args:
            options: fields of this class, or of FURTHER_OPTIONS; None unsets an option. A temperature of 0 turns
                sampling off, and one above 0 turns it on unless `do_sample` is given.

        Raises:
            ConfigError: An option has another name, or its number is out of range.
        """
        if not options:
            return self
        for name, value in options.items():
            _check_option(name, value)
        changed: dict[str, Any] = {**self._to_dict(), **options}
        if options.get("temperature") == 0:
            changed |= {"do_sample": False, "temperature": None}
        elif options.get("temperature") is not None:
            changed |= {"do_sample": options.get("do_sample", True)}
        return self._from_dict(changed)

    @property
    def uses_beams(self) -> bool:
        """Whether beam search decodes; it never samples, because its samples could not depend on the pair alone."""
        return (self.num_beams or 1) > 1

    @property
    def num_drafts(self) -> int:
        """How many drafts of each text are sampled; 1 where nothing is sampled, since all would be the same."""
        return int(self.candidates or 1) if self.do_sample and not self.uses_beams else 1

    def describe(self) -> str:
        """Return the decoding in a few words, as the conditions of an evaluation state it (a persisted value)."""
        if self.do_sample:
            sampled = f"sampled, temperature {self.temperature or 1:g}, top-p {self.top_p or 1:g}, seed 0"
            references = " and like people's sentences" if self.mbr_references else ""
            words = " in their content words" if self.mbr_content_words else ""
            drafts, kept = self.num_drafts, f"the one most like the others{references}{words}"
            return f"{sampled}, of {drafts} drafts {kept}" if drafts > 1 else sampled
        return f"{self.num_beams} beams" if self.uses_beams else "greedy"


def _check_option(name: str, value: Any) -> None:
    """Check the name of a decoding option, and its value if it is a number with limits.

    Raises:
        ConfigError: There is no such option, or the number is out of range.
    """
    own = {each.name for each in fields(DecodingConfig)} - {"options"}
    known = own | FIELD_NAMES.keys() | set(FURTHER_OPTIONS)
    if name not in known:
        similar = " or ".join(get_close_matches(name, sorted(known)))
        advice = f"did you mean {similar}?" if similar else f"choose one of {', '.join(sorted(known))}"
        raise ConfigError(f"there is no decoding option '{name}'; {advice}")
    limited = FIELD_NAMES.get(name, name)
    if limited not in LIMITS or value is None:
        return
    least, most = LIMITS[limited]
    kind = int | float if limited in FRACTIONS else int
    if isinstance(value, bool) or not isinstance(value, kind) or not least <= value <= most or value == inf:
        limits = f"of at least {least:g}" if most == inf else f"from {least:g} to {most:g}"
        number = "number" if limited in FRACTIONS else "whole number"
        raise ConfigError(f"decoding option {name}={value}: expected a {number} {limits}")
