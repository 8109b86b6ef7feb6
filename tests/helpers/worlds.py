"""The smallest configuration that still trains both stages."""

TINY = {
    "preference": {
        "clusters": 3,
        "latent": 8,
        "embedding": 8,
        "hidden": 16,
        "pretrain_epochs": 4,
        "epochs": 4,
        "restarts": 2,
    },
    "explainer": {
        "hidden": 32,
        "layers": 2,
        "heads": 2,
        "vocabulary": 400,
        "expert_width": 32,
        "soft_token_width": 8,
        "epochs": 3,
        "max_tokens": 24,
        "batch_size": 32,
        "learning_rate": 5e-3,
        "candidates": 2,
    },
}
