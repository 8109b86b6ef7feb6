"""Guests: users whom the run does not know, in the tables of both stages (`gavamoe.preference.fold_in`).

    rated items --estimate_guests--> posterior over the trained users --> a row in every table of users
    texts       --guest_sentences--> sentences that the guest's own prompts quote as history, and nobody else's

The tables are stage 1's embeddings, stage 2's soft tokens, the latent means that evidence is ranked by, and the feature
counts. A guest's row is the posterior mean of the trained users' rows. Weights are shared and do not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
import torch

from gavamoe.explainer.context import ContextBuilder
from gavamoe.explainer.evidence import EMPTY, sentence_table
from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.features.cleaning import clean_texts
from gavamoe.preference.fold_in import UserEstimate, guest_table, shallow_copy, with_guests
from gavamoe.preference.history import Guest


def context_with_guests(context: ContextBuilder, guests: Sequence[Guest]) -> ContextBuilder:
    """Return a context builder whose tables of users have the guests too."""
    estimates = [guest.estimate for guest in guests]
    latents = [estimate.mean_row(torch.from_numpy(context.evidence.users_UD)).numpy() for estimate in estimates]
    weights = [(each.user_ids.cpu().numpy(), each.weights.cpu().numpy()) for each in estimates]
    return replace(
        context,
        preference=with_guests(context.preference, estimates),
        features=context.features.with_mixed_users(context.catalog.n_users + 1, weights),
        evidence=context.evidence.with_users(np.stack(latents), guest_sentences(context, guests)),
    )


def guest_sentences(context: ContextBuilder, guests: Sequence[Guest]) -> pl.DataFrame:
    """Return the sentences that guests wrote about known items, as in `EvidenceIndex`.

    Each guest's table is made by itself, so that it does not depend on the other guests of a request.
    """
    tables = [EMPTY]
    for user_id, guest in enumerate(guests, start=context.catalog.n_users + 1):
        written = pl.DataFrame(
            guest.history.written, {"item_id": pl.Int32, "level": pl.Int8, "text": pl.String}, orient="row"
        )
        written = written.with_columns(
            clean_texts(written["text"]), user_id=pl.lit(user_id), feature=pl.lit(None, pl.String)
        )
        tables.append(sentence_table(written, np.zeros(len(written)), context.catalog.extractor))
    return pl.concat(tables).sort("item_id", maintain_order=True)


def model_with_guests(model: GavamoeForCausalLM, estimates: Sequence[UserEstimate]) -> GavamoeForCausalLM:
    """Return a model whose table of soft tokens has the guests too; it shares its routing state with `model`."""
    view, user_token = shallow_copy(model), shallow_copy(model.user_token)
    user_token.vectors = guest_table(user_token.vectors, estimates)  # type: ignore[assignment] # called like an Embedding
    view.user_token = user_token
    return view
