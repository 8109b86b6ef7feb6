"""Metrics: small objects with name, direction and source, one module per family; docs/metrics.md explains each.

Modules: `metric` (the interface); tables of the field: `bleu`, `rouge`, `diversity`, `features`, `rating`;
the right item and user: `identifiability`, `statements`, `genericness`; further metrics: `surface`, `rouge_score`,
`sacrebleu`, `hallucination`, `coherence`, `similarity`, `fluency`.
May import: `gavamoe.errors`, `gavamoe.evaluation.outputs`, `gavamoe.words`.
"""
