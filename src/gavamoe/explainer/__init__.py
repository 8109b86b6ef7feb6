"""Stage 2: the language model that writes the explanation."""
