"""Shared by stage 2 and the baselines."""
