"""Metrics, each a small object with name, direction and source; what they mean is in docs/metrics.md."""
