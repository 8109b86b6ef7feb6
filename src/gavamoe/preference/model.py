"""The preference model of stage 1: a variational autoencoder of ratings under a Gaussian-mixture prior.

Source: design of GaVaMoE (arXiv 2410.11841, section 3.1) and VaDE (Jiang et al. 2017). Ids are integers, 0 is unknown.
Shape suffixes: B batch, D latent, K clusters, R rating levels, N users or items.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from gavamoe.config import PreferenceConfig
from gavamoe.errors import ConfigError
from gavamoe.preference.losses import PairLosses
from gavamoe.preference.networks import PairEncoder, RatingDecoder
from gavamoe.preference.prior import MixturePrior

INFERENCE_BATCH = 65_536


class PreferenceModel(
    nn.Module, PyTorchModelHubMixin, library_name="gavamoe", tags=["recommendation", "variational-autoencoder"]
):
    """Rates pairs and clusters them by taste.

    `save_pretrained`, `from_pretrained` and `push_to_hub` behave as in transformers (config.json, model.safetensors).
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
    ):
        super().__init__()
        if min(users, items, levels, clusters, embedding, hidden) < 1 or latent < 2:
            raise ConfigError(
                "users, items, levels, clusters, embedding and hidden must be at least 1, latent at least 2"
            )
        self.users, self.items, self.levels, self.clusters = users, items, levels, clusters
        self.sizes = (levels, clusters, latent, embedding, hidden, dropout, item_features)
        self.encoder = PairEncoder(users, items, embedding, hidden, latent, dropout, item_features)
        self.decoder = RatingDecoder(latent // 2, latent - latent // 2, hidden, levels, dropout)
        self.prior = MixturePrior(clusters, latent)

    @classmethod
    def from_config(
        cls, users: int, items: int, levels: int, config: PreferenceConfig, seed: int = 0
    ) -> PreferenceModel:
        """An untrained model of the configured sizes. The caller's random state is left as it was."""
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
            )

    @classmethod
    def _from_pretrained(cls, **options: Any) -> PreferenceModel:
        # The mixin prints a line on stdout, which is kept for results.
        with contextlib.redirect_stdout(io.StringIO()):
            return super()._from_pretrained(**options)

    def set_item_features(self, feature_IF: Tensor) -> None:
        """Say what the items are like before training: a row for each of ids 1..items, [items, F]."""
        expected = self.items, self.encoder.item.features
        if feature_IF.shape != expected:
            raise ConfigError(f"expected item features of shape {expected}, found {tuple(feature_IF.shape)}")
        self.encoder.item.description_NF[1:] = feature_IF

    def with_new_items(self, feature_MF: Tensor) -> PreferenceModel:
        """A copy with M items more, ids items + 1 .. items + M, that nobody has reviewed: known by their features."""
        if not self.encoder.item.features:
            raise ConfigError("the model was trained without item features; set preference.item_features")
        wider = type(self)(self.users, self.items + len(feature_MF), *self.sizes)
        weights = self.state_dict()
        for name, more in (
            ("encoder.item.description_NF", feature_MF),
            ("encoder.item.offset.weight", torch.zeros(len(feature_MF), self.encoder.item.offset.embedding_dim)),
        ):
            weights[name] = torch.cat([weights[name], more.to(weights[name])])
        wider.load_state_dict(weights)
        return wider.to(self.device).eval()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.prior.logits_K.device

    def autoencoder_nll(self, user_B: Tensor, item_B: Tensor, level_B: Tensor) -> Tensor:
        """Reconstruction through z = mu, without the prior: the pretraining objective, [B]. Levels are 0..R-1 here."""
        mu_BD, _ = self.encoder(user_B, item_B)
        return nn.functional.cross_entropy(self.decoder(mu_BD), level_B, reduction="none")

    def elbo_losses(self, user_B: Tensor, item_B: Tensor, level_B: Tensor, eps_BD: Tensor | None = None) -> PairLosses:
        """The parts of the negative ELBO at a sampled z = mu + sigma * eps. Levels are 0..R-1 here."""
        mu_BD, log_var_BD = self.encoder(user_B, item_B)
        eps_BD = torch.randn_like(mu_BD) if eps_BD is None else eps_BD
        return self.losses_at(mu_BD + torch.exp(0.5 * log_var_BD) * eps_BD, mu_BD, log_var_BD, level_B)

    def losses_at(self, z_BD: Tensor, mu_BD: Tensor, log_var_BD: Tensor, level_B: Tensor) -> PairLosses:
        """The same for latents z of the Gaussians with `mu_BD` and `log_var_BD`."""
        nll_B = nn.functional.cross_entropy(self.decoder(z_BD), level_B, reduction="none")
        with torch.autocast(z_BD.device.type, enabled=False):  # the mixture's differences drown in half precision
            z_BD, mu_BD, log_var_BD = z_BD.float(), mu_BD.float(), log_var_BD.float()
            gaussian_BD, choice_B = self.prior.kl_terms(mu_BD, log_var_BD, self.prior.log_responsibilities(z_BD))
        half = self.encoder.user_latent
        return PairLosses(nll_B, gaussian_BD[:, :half].sum(-1) + choice_B, gaussian_BD[:, half:].sum(-1))

    @torch.no_grad()
    def latent(self, user_B: Tensor, item_B: Tensor) -> Tensor:
        """The posterior mean of each pair, [B, D]: deterministic, and independent of the other rows."""
        return torch.cat([mu for mu, _ in self.encode_chunks(user_B, item_B)])

    @torch.no_grad()
    def rating_distribution(self, user_B: Tensor, item_B: Tensor) -> Tensor:
        """p(level | z = mu), [B, R]."""
        return torch.cat([self.decoder(mu).softmax(-1) for mu, _ in self.encode_chunks(user_B, item_B)])

    @torch.no_grad()
    def predict_rating(self, user_B: Tensor, item_B: Tensor) -> Tensor:
        """Expected level sum_r r p(r | z = mu) in 1..R, [B]."""
        level_R = torch.arange(1, self.levels + 1, dtype=torch.float32, device=self.device)
        return self.rating_distribution(user_B, item_B) @ level_R

    @torch.no_grad()
    def responsibilities(self, user_B: Tensor, item_B: Tensor) -> Tensor:
        """gamma at z = mu, [B, K]; each row sums to 1."""
        return torch.cat([self.prior.log_responsibilities(mu).exp() for mu, _ in self.encode_chunks(user_B, item_B)])

    @torch.no_grad()
    def assign(self, user_B: Tensor, item_B: Tensor) -> Tensor:
        """The cluster of each pair, argmax_c gamma_c at z = mu, [B]."""
        return self.responsibilities(user_B, item_B).argmax(-1)

    @torch.no_grad()
    def user_profile(self, user_B: Tensor, item_B: Tensor) -> Tensor:
        """Mean responsibilities over each user's given pairs, [users + 1, K]; a user without a pair has a row of 0."""
        gamma_BK = self.responsibilities(user_B, item_B)
        sum_NK = gamma_BK.new_zeros(self.users + 1, self.clusters).index_add_(0, user_B.to(self.device), gamma_BK)
        count_N = torch.bincount(user_B.to(self.device), minlength=self.users + 1).clamp_min(1)
        return sum_NK / count_N[:, None]

    @torch.no_grad()
    def latent_means(self) -> tuple[Tensor, Tensor]:
        """The latent means of every user [users + 1, D/2] and every item [items + 1, D - D/2]."""
        self.eval()
        users_N = torch.arange(self.users + 1, device=self.device)
        items_N = torch.arange(self.items + 1, device=self.device)
        return self.encoder.user(users_N)[0], self.encoder.item(items_N)[0]

    @torch.no_grad()
    def embedding_tables(self) -> tuple[Tensor, Tensor]:
        """The vectors of every user [users + 1, E] and every item [items + 1, E]: what stage 2 is given."""
        users_N, items_N = (torch.arange(rows + 1, device=self.device) for rows in (self.users, self.items))
        return self.encoder.user.vectors(users_N), self.encoder.item.vectors(items_N)

    @torch.no_grad()
    def encode_chunks(self, user_B: Tensor, item_B: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """mu and log sigma^2 a chunk of pairs at a time, dropout off."""
        self.eval()
        user_B, item_B = user_B.to(self.device), item_B.to(self.device)
        for start in range(0, max(len(user_B), 1), INFERENCE_BATCH):
            chunk = slice(start, start + INFERENCE_BATCH)
            yield self.encoder(user_B[chunk], item_B[chunk])
