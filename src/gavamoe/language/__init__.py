"""Text and decoding code that stage 2 and the text baselines share.

prompt, tokenizer, encoding and base_model prepare texts and models; decoding_config, decoding, sampling and mbr decode
texts; quiet silences transformers during a call.
May import: errors, files, distributed, config, conditions and the other modules beside the folders; no other folder.
"""
