"""How the logits of each step are changed before the likeliest token is taken: one list for GaVaMoE and the baselines.

    logits --no n-gram twice--> penalty of repetition --> further rules
           --sampling noise of the pair--> whole characters only --> argmax

Shape suffixes: B sequences, S tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList
from transformers.generation import NoRepeatNGramLogitsProcessor, RepetitionPenaltyLogitsProcessor

from gavamoe.language.decoding_config import DecodingConfig
from gavamoe.language.sampling import PairSampling
from gavamoe.language.whole_characters import TokenBytes, WholeCharacters


def logits_processors(
    decoding: DecodingConfig,
    key_B: Tensor,
    prompt_width: int,
    tokens: TokenBytes | None,
    further: Iterable[LogitsProcessor] = (),
) -> LogitsProcessorList:
    """Return the processors of a decoder that takes the likeliest token, or beams.

    Args:
        decoding: how to decode.
        key_B: keys of the sampling noise (`pair_keys`); used if `decoding` samples without beams.
        prompt_width: tokens of the padded prompt.
        tokens: the bytes of the tokenizer's tokens, of which texts are made that consist of whole characters.
        further: processors that follow the rules for repeated tokens.
    """
    processors = LogitsProcessorList()
    if decoding.no_repeat_ngram_size:
        processors.append(NoRepeatInText(decoding.no_repeat_ngram_size, prompt_width))
    if (penalty := decoding.options.get("repetition_penalty", 1.0)) != 1.0:
        processors.append(RepetitionPenaltyLogitsProcessor(penalty, prompt_ignore_length=prompt_width))
    processors.extend(further)
    sampling = None
    if decoding.do_sample and not decoding.uses_beams:
        sampling = PairSampling(key_B, prompt_width, decoding.temperature or 1.0, decoding.top_p or 1.0)
    if tokens is not None:
        processors.append(WholeCharacters(tokens, prompt_width, sampling, decoding.uses_beams))
    elif sampling is not None:
        processors.append(sampling)
    return processors


class NoRepeatInText(NoRepeatNGramLogitsProcessor):
    """Forbids an n-gram to occur twice in the text; one that the prompt has (a feature, evidence) may occur once.

    Args:
        size: n.
        prompt_width: tokens of the padded prompt.
    """

    def __init__(self, size: int, prompt_width: int):
        super().__init__(size)
        self.prompt_width = prompt_width

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return logits [B, V], -inf where a token would repeat an n-gram of the text."""
        return super().__call__(input_ids[:, self.prompt_width :], scores)
