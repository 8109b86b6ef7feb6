"""Metrics, what they are taken on, the trivial baselines, and the report."""
