"""Stage 2: the causal LM with multi-gate mixture-of-experts FFNs that writes explanations.

Model: configuration, modeling, soft_tokens, build, lora. Training: dataset, trainer, callbacks, chunked_loss,
validation, checkpoints, train.
Use: context, guests, gate_assignment, evidence, generate, streaming, expert_usage, explanation, hub, and explainer (the
entry point).
May import: the modules beside the folders, data, features, moe, language, preference.
"""
