"""BLEU as sacrebleu computes it (13a tokens, exponential smoothing), under its own name; needs the extra `eval`."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np

from gavamoe.errors import InputError
from gavamoe.evaluation.metrics.metric import Metric
from gavamoe.evaluation.outputs import Outputs

ORDERS = 4


def available() -> bool:
    """Whether sacrebleu is installed."""
    return find_spec("sacrebleu") is not None


def sacrebleu_statistics(outputs: Outputs) -> np.ndarray:
    """Matched n-grams (n = 1..4), n-grams predicted (n = 1..4), tokens predicted, tokens of the reference: [n, 10].

    Raises:
        InputError: sacrebleu is not installed.
    """
    if not available():
        raise InputError("sacrebleu's BLEU needs sacrebleu; install it with: pip install 'gavamoe[eval]'")
    from sacrebleu.metrics import BLEU

    bleu = BLEU()
    rows = []
    for prediction, reference in zip(outputs.predictions, outputs.references, strict=True):
        score = bleu.corpus_score([" ".join(prediction)], [[" ".join(reference)]])
        rows.append([*score.counts, *score.totals, score.sys_len, score.ref_len])
    return np.array(rows, dtype=float)


def sacrebleu_value(totals: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Corpus BLEU from summed statistics, [b]; sacrebleu's own arithmetic."""
    from sacrebleu.metrics import BLEU

    whole = totals.round().astype(int)
    counts, sizes = whole[:, :ORDERS].tolist(), whole[:, ORDERS : 2 * ORDERS].tolist()
    return np.array(
        [
            BLEU.compute_bleu(matched, predicted, said, wanted, smooth_method="exp").score
            for matched, predicted, (said, wanted) in zip(counts, sizes, whole[:, -2:].tolist(), strict=True)
        ]
    )


METRICS = (Metric("sacrebleu", True, "Post 2018, default settings", sacrebleu_statistics, sacrebleu_value),)
