"""Describe what a trained stage 1 has learned: its clusters.

Modules: `clusters` (sizes, distinctive genres and features, silhouette, stability).
May import: root modules, `data`, `preference`.
"""
