"""Describe what a trained stage 1 has learned: its clusters.

Modules: `clusters` (sizes, distinctive genres and features, silhouette, stability), `word_models` (what groups tell
about the words of texts).
May import: root modules, `data`, `preference`.
"""
