"""Stage 2: the causal LM with multi-gate mixture-of-experts FFNs that writes explanations.

Model: configuration, modeling, soft_tokens, build, lora. Training: dataset, trainer, length_parts, rate_factors,
callbacks, chunked_loss, compiled, validation, checkpoints, warm_start, train.
What prompts state: context, facts, guests, gate_assignment, evidence.
Use: generate, streaming, text_loss, expert_usage, explanation, model_card, hub, and explainer (the entry point).
"""
