"""A run for other engines and other machines: stock checkpoints, soft tokens as files, GGUF, and what a training needs.

architectures, weights   which transformers architecture computes what one cluster of a run computes, and its weights
soft_tokens, vocabulary  users and items as prompt embeddings, and as rows of the vocabulary
checkpoint, card         the directory that is written, its model card
gguf_file                the file of llama.cpp
plan                     memory, speed and hours of a training on given devices
"""
