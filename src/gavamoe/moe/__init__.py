"""Multi-gate mixture of fine-grained experts for any causal LM with a gated MLP; knows nothing of recommendation.

gate, experts, block         one gate per cluster, expert weights and kernels, the block that replaces an MLP
initialise, convert, losses  expert weights from a pretrained MLP, conversion of a model, router losses

Shape suffixes throughout: B batch, S sequence, T tokens (B*S), H hidden, C clusters (gates), E experts, K selected
experts (top-k), W expert width.
"""
