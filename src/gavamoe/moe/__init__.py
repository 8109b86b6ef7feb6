"""Multi-gate mixture of fine-grained experts for any causal LM with a gated MLP; knows nothing of recommendation.

Shape suffixes throughout: B batch, S sequence, T tokens (B*S), H hidden, C clusters (gates), E experts, K selected
experts (top-k), W expert width.
"""
