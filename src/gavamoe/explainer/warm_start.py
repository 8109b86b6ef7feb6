"""Warm start of stage 2: the language model of a trained run, with soft tokens for the users and items of newer data.

tokenizer, LM, experts, gates   those of the trained run
row of a known id               the trained row
row of a new id                 the trained row of the unknown id
stage-1 dimensions              moved by how far stage 1's embedding of the id moved, at the scale of the trained run
text dimensions of a new item   latent semantic vector of its texts, mapped to the trained rows of known items

Shape suffixes: N users or items, V stage-1 dimensions, W text dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from sklearn.linear_model import RidgeCV
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from gavamoe.config import ExplainerConfig
from gavamoe.data.id_map import IdMap
from gavamoe.explainer.lora import load_model
from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.explainer.soft_tokens import SoftToken, item_lsa_vectors
from gavamoe.preference.model import PreferenceModel

RIDGE_PENALTIES = (1.0, 10.0, 100.0, 1000.0)  # candidates for cross-validation over items


@dataclass(frozen=True)
class WarmStart:
    """The trained run that an update of stage 2 starts from.

    Args:
        directory: its stage 2.
        preference: its stage 1.
        ids: its ids of the newer data's users and items.
    """

    directory: Path
    preference: PreferenceModel
    ids: IdMap

    def model(
        self, train: pl.DataFrame, preference: PreferenceModel, config: ExplainerConfig
    ) -> tuple[GavamoeForCausalLM, PreTrainedTokenizerBase]:
        """Return the trained model with a soft token for every user and item of the newer data, and its tokenizer.

        Args:
            train: prepared training reviews of the newer data, with text.
            preference: the updated stage 1.
            config: settings of stage 2.
        """
        model = load_model(self.directory)
        tokenizer = AutoTokenizer.from_pretrained(self.directory, trust_remote_code=False)
        now, then = preference.embedding_tables(), self.preference.embedding_tables()
        width = now[0].shape[1] if config.use_preference_vectors else 0
        shared = preference.user_row_N is not None  # then the tables of users have the same rows as before
        old_users = np.arange(len(now[0])) if shared else self.ids.user
        users = _moved_rows(model.user_token, now[0], then[0], old_users, width)
        items = _moved_rows(model.item_token, now[1], then[1], self.ids.item, width)
        _set_text_dimensions(items, item_lsa_vectors(train, len(items), items.shape[1] - width), self.ids.item)
        model.user_token = _resized(model.user_token, users, preference.user_row_N)
        model.item_token = _resized(model.item_token, items)
        model.config.users, model.config.items = model.user_token.vectors.ids - 1, len(items) - 1
        return model, tokenizer


def _moved_rows(token: SoftToken, now_NV: Tensor, then_NV: Tensor, old_N: np.ndarray, width: int) -> Tensor:
    """Return the rows of the newer ids, [N, V + W]: trained rows, whose first `width` dimensions follow stage 1."""
    old = torch.from_numpy(old_N)
    row_NW = token.vectors.weight.detach().float().cpu()[old].clone()
    if width:
        then_NV, now_NV = then_NV.cpu(), now_NV.cpu()
        row_NW[:, :width] += (now_NV - then_NV[old]) / then_NV.std(0).clamp_min(1e-6)
    return row_NW


def _set_text_dimensions(row_NW: Tensor, lsa_NW: Tensor, old_N: np.ndarray) -> None:
    """Set the last dimensions of new items with texts to what their latent semantic vectors say, in place.

    The vectors of newer texts have other axes than those of older texts, and training moved the rows. A ridge
    regression over the known items maps the one to the other.
    """
    width = lsa_NW.shape[1]
    with_text = (lsa_NW != 0).any(1).numpy()
    known, new = with_text & (old_N > 0), with_text & (old_N == 0)
    if not width or not new.any() or known.sum() <= len(RIDGE_PENALTIES):
        return
    target_NW = row_NW[torch.from_numpy(known)][:, -width:].numpy()
    ridge = RidgeCV(RIDGE_PENALTIES).fit(lsa_NW.numpy()[known], target_NW)
    row_NW[torch.from_numpy(new), -width:] = torch.from_numpy(ridge.predict(lsa_NW.numpy()[new])).float()


def _resized(token: SoftToken, vectors_RW: Tensor, row_N: Tensor | None = None) -> SoftToken:
    """Return a soft token with other vectors and the same projection; `row_N` is the row of ids that share rows."""
    weight, (rows, width) = token.projection.weight, vectors_RW.shape
    ids, shared = (rows, None) if row_N is None else (len(row_N), rows - 1)
    wider = SoftToken(ids, width, len(weight), token.dropout.p, shared).to(weight.device, weight.dtype)
    wider.projection.load_state_dict(token.projection.state_dict())
    wider.copy_vectors(vectors_RW, row_N)
    return wider
