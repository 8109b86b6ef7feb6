"""Stage 1: ratings and taste."""
