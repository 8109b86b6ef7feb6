"""Aspects of a text."""
