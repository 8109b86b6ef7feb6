"""Text and rating metrics as the PETER/PEPLER evaluation computes them, each a small function with its source."""
