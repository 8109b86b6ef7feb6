"""Text and decoding code that stage 2 and the text baselines share.

Prompts: prompt (special tokens), template (words), budget (their length), encoding. Models: base_model, named_bases,
tokenizer, grouped_attention (bf16 on a CPU). Decoding: decoding_config, decoding, sampling, whole_characters, mbr and
rarity. quiet silences transformers during a call.
"""
