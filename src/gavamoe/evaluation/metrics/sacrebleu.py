"""BLEU as sacrebleu computes it (13a tokens, exponential smoothing), in percent; needs the extra `eval`."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np

from gavamoe.errors import InputError
from gavamoe.evaluation.metrics.metric import Metric
from gavamoe.evaluation.outputs import Outputs

MAX_ORDER = 4


def is_available() -> bool:
    """Return whether sacrebleu is installed."""
    return find_spec("sacrebleu") is not None


def sacrebleu_statistics(outputs: Outputs) -> np.ndarray:
    """Return matched n-grams (n = 1..4), predicted n-grams (n = 1..4), predicted tokens, reference tokens: [n, 10].

    Raises:
        InputError: sacrebleu is not installed.
    """
    if not is_available():
        raise InputError("sacrebleu's BLEU needs sacrebleu; install it with: pip install 'gavamoe[eval]'")
    from sacrebleu.metrics import BLEU

    bleu = BLEU()
    rows = []
    for prediction, reference in zip(outputs.predictions, outputs.references, strict=True):
        score = bleu.corpus_score([" ".join(prediction)], [[" ".join(reference)]])
        rows.append([*score.counts, *score.totals, score.sys_len, score.ref_len])
    return np.array(rows, dtype=float)


def conditions(outputs: Outputs) -> dict[str, str]:
    """Return how texts of scripts without blanks are split; empty for other texts."""
    return {"sacrebleu": "each character is a word, as with tokenize zh; the rest 13a"} if outputs.has_unspaced else {}


def sacrebleu_value(totals: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return corpus BLEU from summed statistics [b, 10] with sacrebleu's own arithmetic, [b]."""
    from sacrebleu.metrics import BLEU

    integers = totals.round().astype(int)
    counts, sizes = integers[:, :MAX_ORDER].tolist(), integers[:, MAX_ORDER : 2 * MAX_ORDER].tolist()
    lengths = integers[:, -2:].tolist()
    return np.array(
        [
            BLEU.compute_bleu(matched, predicted, system_length, reference_length, smooth_method="exp").score
            for matched, predicted, (system_length, reference_length) in zip(counts, sizes, lengths, strict=True)
        ]
    )


METRICS = (Metric("sacrebleu", True, "Post 2018, default settings", sacrebleu_statistics, sacrebleu_value),)
