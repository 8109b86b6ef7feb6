"""The preference model of stage 1: a variational autoencoder of ratings with a Gaussian-mixture prior.

    (user, item) -> encoder -> mu, log sigma^2 -> z = mu + sigma * eps -> decoder -> p(r | z)
                                                  prior: gamma_c = p(c | z), the pair's cluster

With a text block (`text_block`), z has further dimensions that explain what the review speaks of.

Source: arXiv 2410.11841, section 3.1, and VaDE (Jiang et al. 2017). Ids are integers; 0 is the unknown user or item.
Shape suffixes: B batch, D latent, E embedding, K clusters, R rating levels, N users or items, F features, M new items.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from huggingface_hub import PyTorchModelHubMixin, hf_hub_download
from huggingface_hub.constants import SAFETENSORS_SINGLE_FILE
from safetensors.torch import load_model
from torch import Tensor, nn

from gavamoe.checkpoint import check_finite
from gavamoe.config import PreferenceConfig
from gavamoe.data.dataset import id_arrays
from gavamoe.errors import ConfigError
from gavamoe.preference.id_table import share_rows
from gavamoe.preference.losses import PairLosses
from gavamoe.preference.networks import PairEncoder, RatingDecoder
from gavamoe.preference.prior import MixturePrior
from gavamoe.preference.text_block import TextBlock
from gavamoe.preference.text_target import FILE as TEXT_TARGET
from gavamoe.preference.text_target import TextTarget

INFERENCE_BATCH = 65_536
Ids = Tensor | np.ndarray  # integer ids, [B]


class PreferenceModel(
    nn.Module, PyTorchModelHubMixin, library_name="gavamoe", tags=["recommendation", "variational-autoencoder"]
):
    """Predicts the rating of a (user, item) pair and assigns the pair to a cluster of similar taste.

    `gavamoe.preference.trainer.fit_preference` trains the model. `save_pretrained`, `from_pretrained` and
    `push_to_hub` behave as in transformers (config.json, model.safetensors).

    Args:
        users: number of users, without the unknown.
        items: number of items, without the unknown.
        levels: R, number of rating levels.
        clusters: K, components of the mixture prior.
        latent: D, dimensions of z.
        embedding: E, dimensions of the user and item embeddings.
        hidden: width of the encoder's trunk and of the decoder.
        dropout: dropout rate in encoder and decoder.
        item_features: F, dimensions of item description features; 0 without.
        text_latent: dimensions of z that explain texts, beside `latent`.
        vocabulary: V, units of texts that are reconstructed; 0 reconstructs ratings only.
        user_rows: rows of the tables of users (`share_user_rows` says which); None gives each user its own.

    Raises:
        ConfigError: a size is too small.
    """

    def __init__(
        self,
        users: int,
        items: int,
        levels: int,
        clusters: int = 5,
        latent: int = 16,
        embedding: int = 32,
        hidden: int = 64,
        dropout: float = 0.0,
        item_features: int = 0,
        text_latent: int = 0,
        vocabulary: int = 0,
        user_rows: int | None = None,
    ):
        super().__init__()
        if min(users, items, levels, clusters, embedding, hidden) < 1 or latent < 2:
            raise ConfigError(
                "users, items, levels, clusters, embedding and hidden must be at least 1, latent at least 2"
            )
        self.users, self.items, self.levels, self.clusters = users, items, levels, clusters
        self.user_rows = user_rows
        self.sizes = (
            *(levels, clusters, latent, embedding, hidden, dropout, item_features, text_latent, vocabulary),
            user_rows,
        )
        self.encoder = PairEncoder(users, items, embedding, hidden, latent, dropout, item_features, user_rows)
        self.decoder = RatingDecoder(latent // 2, latent - latent // 2, hidden, levels, dropout)
        self.prior = MixturePrior(clusters, latent + (text_latent if vocabulary else 0))
        self.text: TextBlock | None = None
        self.text_target: TextTarget | None = None  # what the units of the text block are; set with a trained model
        if vocabulary:
            self.text = TextBlock(
                users, items, levels, text_latent, embedding, hidden, vocabulary, dropout, item_features, user_rows
            )

    @classmethod
    def from_config(
        cls, users: int, items: int, levels: int, config: PreferenceConfig, seed: int = 0, vocabulary: int = 0
    ) -> PreferenceModel:
        """Return an untrained model of the configured sizes. The caller's random state does not change.

        Args:
            users: number of users, without the unknown.
            items: number of items, without the unknown.
            levels: R, number of rating levels.
            config: settings of stage 1.
            seed: of the random weights.
            vocabulary: V, units of texts (`text_target`); 0 if `config` reconstructs ratings only.
        """
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return cls(
                users,
                items,
                levels,
                config.clusters,
                config.latent,
                config.embedding,
                config.hidden,
                config.dropout,
                config.item_features,
                config.text_latent,
                vocabulary,
                config.user_rows if config.user_rows is not None and config.user_rows < users else None,
            )

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        map_location: str = "cpu",
        strict: bool = False,
        **sizes: Any,
    ) -> PreferenceModel:
        """Read weights and text target from a directory or hub repository.

        The mixin's own version prints on stdout, which is reserved for results, and reads pickled weights.
        """

        def find(name: str) -> Path:
            if Path(model_id).is_dir():
                return Path(model_id) / name
            path = hf_hub_download(
                model_id,
                name,
                revision=revision,
                cache_dir=cache_dir,
                force_download=force_download,
                token=token,
                local_files_only=local_files_only,
            )
            return Path(path)

        model = cls(**sizes)
        load_model(model, find(SAFETENSORS_SINGLE_FILE), strict=strict, device=map_location)
        check_finite(model.state_dict().items(), Path(model_id))
        if model.text is not None:
            model.text_target = TextTarget.load(find(TEXT_TARGET).parent)
        return model.eval()

    def _save_pretrained(self, save_directory: Path) -> None:
        super()._save_pretrained(save_directory)
        if self.text_target is not None:
            self.text_target.save(save_directory)

    def share_user_rows(self, count_U: Tensor) -> None:
        """Say which users share rows, before training: those with the fewest reviews (`id_table`).

        Nothing changes where each user has a row of its own, and where users have their rows already.

        Args:
            count_U: training reviews of each user, [users + 1].
        """
        if self.user_rows is None or self.encoder.user.offset.has_rows:
            return
        row_U = share_rows(count_U.cpu().numpy(), self.user_rows)
        for encoder in self._encoders:
            encoder.user.offset.set_rows(row_U)

    def set_item_features(self, feature_IF: Tensor) -> None:
        """Set the description features of the items, before training.

        Args:
            feature_IF: [items, F], one row for each of ids 1..items.

        Raises:
            ConfigError: the shape is another.
        """
        expected = self.items, self.encoder.item.features
        if feature_IF.shape != expected:
            raise ConfigError(f"expected item features of shape {expected}, found {tuple(feature_IF.shape)}")
        for encoder in self._encoders:
            encoder.item.description_NF[1:] = feature_IF

    def with_new_items(self, feature_MF: Tensor) -> PreferenceModel:
        """Return a copy of the model with new items that nobody has reviewed, known only by their features.

        Predictions for known items do not change.

        Args:
            feature_MF: [M, F], one row for each of the new ids items + 1 .. items + M.

        Raises:
            ConfigError: the model was trained without item features.
        """
        if not self.encoder.item.features:
            raise ConfigError("the model was trained without item features; set preference.item_features")
        wider = type(self)(self.users, self.items + len(feature_MF), *self.sizes)
        weights = self.state_dict()
        no_offset_ME = torch.zeros(len(feature_MF), self.encoder.item.offset.embedding_dim)
        for block in ("", "text.") if self.text is not None else ("",):
            for name, more in (("description_NF", feature_MF), ("offset.weight", no_offset_ME)):
                name = f"{block}encoder.item.{name}"
                weights[name] = torch.cat([weights[name], more.to(weights[name])])
        wider.load_state_dict(weights)
        return wider.to(self.device).eval()

    @property
    def vocabulary(self) -> int:
        """V, number of units of texts that are reconstructed; 0 without a text block."""
        return 0 if self.text is None else self.text.decoder.out_features

    @property
    def user_row_N(self) -> Tensor | None:
        """The row of each user in the tables of users, int32 [users + 1]; None if each has its own."""
        return self.encoder.user.offset.row_N

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.prior.logits_K.device

    @property
    def _encoders(self) -> tuple[PairEncoder, ...]:
        """The encoders of the ratings and, with a text block, of the texts."""
        return (self.encoder,) if self.text is None else (self.encoder, self.text.encoder)

    def encode(self, user_B: Tensor, item_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and log sigma^2 of all dimensions of z, [B, D] each.

        The dimensions are those of the ratings (user, item), then those of the texts (user, item). The text block is
        trained on its own, so it gets no gradient here.
        """
        mu_BD, log_var_BD = self.encoder(user_B, item_B)
        if self.text is None:
            return mu_BD, log_var_BD
        with torch.no_grad():
            text_mu_BD, text_log_var_BD = self.text.encoder(user_B, item_B)
        return torch.cat([mu_BD, text_mu_BD], -1), torch.cat([log_var_BD, text_log_var_BD], -1)

    def autoencoder_nll(self, user_B: Tensor, item_B: Tensor, level_B: Tensor) -> Tensor:
        """Return -log p(r | z = mu) in nats, [B]: the pretraining objective, without the prior.

        Args:
            user_B: user ids.
            item_B: item ids.
            level_B: levels 0..R-1.
        """
        mu_BD, _ = self.encoder(user_B, item_B)
        return nn.functional.cross_entropy(self.decoder(mu_BD), level_B, reduction="none")

    def elbo_losses(self, user_B: Tensor, item_B: Tensor, level_B: Tensor, eps_BD: Tensor | None = None) -> PairLosses:
        """Return the terms of the negative ELBO at a sampled z = mu + sigma * eps, [B] each.

        Args:
            user_B: user ids.
            item_B: item ids.
            level_B: levels 0..R-1.
            eps_BD: standard normal noise; drawn here if None.
        """
        mu_BD, log_var_BD = self.encode(user_B, item_B)
        eps_BD = torch.randn_like(mu_BD) if eps_BD is None else eps_BD
        return self.losses_at(mu_BD + torch.exp(0.5 * log_var_BD) * eps_BD, mu_BD, log_var_BD, level_B)

    def losses_at(self, z_BD: Tensor, mu_BD: Tensor, log_var_BD: Tensor, level_B: Tensor) -> PairLosses:
        """Return the terms of the negative ELBO at given z, [B] each.

        The responsibilities gamma of the KL are those at z. The KL of the component counts with the user.

        Args:
            z_BD: latents.
            mu_BD: posterior means.
            log_var_BD: posterior log variances.
            level_B: levels 0..R-1.
        """
        nll_B = nn.functional.cross_entropy(self.decoder(z_BD), level_B, reduction="none")
        with torch.autocast(
            z_BD.device.type, enabled=False
        ):  # half precision would lose the differences in the mixture
            z_BD, mu_BD, log_var_BD = z_BD.float(), mu_BD.float(), log_var_BD.float()
            gaussian_BD, component_B = self.prior.kl_terms(mu_BD, log_var_BD, self.prior.log_responsibilities(z_BD))
        belongs_to_user_D = self.user_dimensions
        kl_user_B = gaussian_BD[:, belongs_to_user_D].sum(-1) + component_B
        return PairLosses(nll_B, kl_user_B, gaussian_BD[:, ~belongs_to_user_D].sum(-1))

    @property
    def user_dimensions(self) -> Tensor:
        """Whether each dimension of z belongs to the user, [D]; the others belong to the item."""
        parts = [(encoder.user_latent, encoder.item.mu.out_features) for encoder in self._encoders]
        return torch.cat([torch.arange(user + item, device=self.device) < user for user, item in parts])

    @torch.no_grad()
    def latent(self, user_B: Ids, item_B: Ids) -> Tensor:
        """Return the posterior mean mu of each pair, [B, D]; deterministic and independent of the other rows."""
        return torch.cat([mu for mu, _ in self.encode_chunks(user_B, item_B)])

    @torch.no_grad()
    def rating_distribution(self, user_B: Ids, item_B: Ids) -> Tensor:
        """Return p(r | z = mu) of each rating level, [B, R]."""
        return torch.cat([self.decoder(mu).softmax(-1) for mu, _ in self.encode_chunks(user_B, item_B)])

    @torch.no_grad()
    def predict_rating(self, user_B: Ids, item_B: Ids) -> Tensor:
        """Return the expected level sum_r r p(r | z = mu), between 1 and R, [B]."""
        level_R = torch.arange(1, self.levels + 1, dtype=torch.float32, device=self.device)
        return self.rating_distribution(user_B, item_B) @ level_R

    @torch.no_grad()
    def responsibilities(self, user_B: Ids, item_B: Ids) -> Tensor:
        """Return the responsibilities gamma_c = p(c | z = mu), [B, K]; each row sums to 1."""
        return torch.cat([self.prior.log_responsibilities(mu).exp() for mu, _ in self.encode_chunks(user_B, item_B)])

    @torch.no_grad()
    def assign(self, user_B: Ids, item_B: Ids) -> Tensor:
        """Return the cluster of each pair, argmax_c gamma_c at z = mu, [B]."""
        return self.responsibilities(user_B, item_B).argmax(-1)

    @torch.no_grad()
    def user_profile(self, user_B: Ids, item_B: Ids) -> Tensor:
        """Return each user's mean responsibilities over the given pairs, [users + 1, K].

        The row of a user without a pair is 0.
        """
        user_B = _id_tensor(user_B).to(self.device)
        return mean_by_id(self.responsibilities(user_B, item_B), user_B, self.users)

    @torch.no_grad()
    def latent_means(self) -> tuple[Tensor, Tensor]:
        """Return the latent means of all users [users + 1, D // 2] and of all items [items + 1, D - D // 2].

        D counts the dimensions of ratings and texts; each side has those of the ratings first.
        """
        self.eval()
        user_parts, item_parts = zip(*(encoder.latent_means() for encoder in self._encoders), strict=True)
        return torch.cat(user_parts, -1), torch.cat(item_parts, -1)

    @torch.no_grad()
    def embedding_tables(self) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users [users + 1, E] and of all items [items + 1, E], as stage 2 reads them.

        Where users share rows, the first table has the rows, [rows + 1, E]: `user_row_N` says which each user has.
        With a text block each row has the embedding of the ratings, then that of the texts (2 E).
        """
        user_parts, item_parts = zip(*((e.user.table(), e.item.table()) for e in self._encoders), strict=True)
        return torch.cat(user_parts, -1), torch.cat(item_parts, -1)

    @torch.no_grad()
    def encode_chunks(self, user_B: Ids, item_B: Ids) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield mu and log sigma^2, [chunk, D] each, one chunk of pairs at a time, with dropout off."""
        self.eval()
        user_B, item_B = (_id_tensor(ids).to(self.device) for ids in (user_B, item_B))
        for start in range(0, max(len(user_B), 1), INFERENCE_BATCH):
            chunk = slice(start, start + INFERENCE_BATCH)
            yield self.encode(user_B[chunk], item_B[chunk])


def _id_tensor(ids: Ids) -> Tensor:
    return ids if isinstance(ids, Tensor) else torch.from_numpy(np.array(ids, dtype=np.int64))


def mean_by_id(gamma_BK: Tensor, id_B: Tensor, last_id: int) -> Tensor:
    """Return the mean responsibilities of the pairs of each id, [last_id + 1, K]; 0 for an id without a pair.

    Args:
        gamma_BK: responsibilities of pairs; the sums have their precision.
        id_B: the user, or the item, of each pair.
        last_id: the largest id that exists, also one without a pair.
    """
    sum_NK = gamma_BK.new_zeros(last_id + 1, gamma_BK.shape[1]).index_add_(0, id_B, gamma_BK)
    count_N = torch.bincount(id_B, minlength=last_id + 1).clamp_min(1)
    return sum_NK / count_N[:, None]


def assign_clusters(model: PreferenceModel, reviews: pl.DataFrame) -> np.ndarray:
    """Return the cluster of each review's (user, item) pair, [n]."""
    return model.assign(*id_arrays(reviews)).cpu().numpy()
