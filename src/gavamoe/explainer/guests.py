"""Guests: users whom the run does not know, in the tables of both stages (`gavamoe.preference.fold_in`).

    rated items --estimate_guests--> posterior over the trained users --> a row in every table of users

The tables are stage 1's embeddings, stage 2's soft tokens, the latent means that evidence is ranked by, and the feature
counts. A guest's row is the posterior mean of the trained users' rows. Weights are shared and do not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from gavamoe.explainer.context import ContextBuilder
from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.preference.fold_in import UserEstimate, guest_table, shallow_copy, with_guests


def context_with_guests(context: ContextBuilder, estimates: Sequence[UserEstimate]) -> ContextBuilder:
    """Return a context builder whose tables of users have the guests too."""
    latents = [estimate.mean_row(torch.from_numpy(context.evidence.users_UD)).numpy() for estimate in estimates]
    weights = [(each.user_ids.cpu().numpy(), each.weights.cpu().numpy()) for each in estimates]
    return replace(
        context,
        preference=with_guests(context.preference, estimates),
        features=context.features.with_mixed_users(context.catalog.n_users + 1, weights),
        evidence=context.evidence.with_users(np.stack(latents)),
    )


def model_with_guests(model: GavamoeForCausalLM, estimates: Sequence[UserEstimate]) -> GavamoeForCausalLM:
    """Return a model whose table of soft tokens has the guests too; it shares its routing state with `model`."""
    view, user_token = shallow_copy(model), shallow_copy(model.user_token)
    user_token.vectors = guest_table(user_token.vectors, estimates)  # type: ignore[assignment] # called like an Embedding
    view.user_token = user_token
    return view
