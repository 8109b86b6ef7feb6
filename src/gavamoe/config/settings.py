"""The settings of a run, typed, with their defaults, and the rules between them.

PreferenceConfig   stage 1: the preference model and its training
ExplainerConfig    stage 2: the language model with experts, its training, decoding and prompts
RunConfig          both stages and the seed
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gavamoe.errors import ConfigError

SPECIAL, NATURAL = "special-tokens", "natural"  # prompt templates: without words, and the package's own in words
NATURAL_EVIDENCE = 3  # quotations by others in a prompt in words
VALIDATION_PART = 5  # max_reviews divided by this many reviews are enough to validate on


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PreferenceConfig(_Strict):
    """Stage 1: the preference model and its training."""

    # Clusters
    clusters: int = Field(5, ge=1, description="K, number of components of the mixture prior")
    choose_clusters: Literal["bic", "elbo", "text"] | None = Field(
        None,
        description="choose K from cluster_range by BIC of the users' latents, held-out ELBO, or the held-out "
        "likelihood of texts given the cluster; null: `clusters`",
    )
    cluster_range: tuple[int, int] = Field((2, 12), description="smallest and largest K to choose from")
    restarts: int = Field(10, ge=1, description="random starts of the mixture fit; the most likely fit is kept")

    # Model size
    latent: int = Field(16, ge=2, description="dimensions of z; half belong to the user, half to the item")
    embedding: int = Field(32, ge=1, description="dimensions of the user and item embeddings")
    hidden: int = Field(64, ge=1, description="width of the encoder's trunk and of the decoder")
    user_rows: int | None = Field(
        None,
        ge=10,
        description="rows of the tables of users: users with many reviews have their own, the others share a tenth of "
        "the rows by hash; null: a row for each user",
    )
    item_features: int = Field(
        0, ge=0, description="dimensions of the LSA vectors of items' title, categories and description; 0: not used"
    )

    # Texts
    reconstructs: Literal["ratings", "ratings+features", "ratings+words"] = Field(
        "ratings",
        description="what z explains: ratings, or also the features with their polarity, or the words of the reviews",
    )
    text_latent: int = Field(16, ge=2, description="dimensions of z that explain texts, beside `latent`")

    # Optimisation
    beta: float = Field(1.0, ge=0, description="weight of the KL in the ELBO; it counts once per user and per item")
    pretrain_epochs: int = Field(60, ge=1, description="largest number of epochs as an autoencoder without prior")
    warmup_epochs: int = Field(5, ge=0, description="epochs over which beta rises to its value")
    epochs: int = Field(60, ge=1, description="largest number of epochs with the prior")
    update_epochs: int = Field(10, ge=1, description="largest number of epochs of an update (train --update)")
    patience: int = Field(6, ge=1, description="epochs without a better validation objective before stopping")
    batch_size: int = Field(512, ge=1, description="pairs per step; fewer when there are few reviews")
    learning_rate: float = Field(3e-3, gt=0, description="learning rate of the networks (AdamW)")
    weight_decay: float = Field(1e-2, ge=0, description="weight decay of the networks (AdamW)")
    embedding_learning_rate: float = Field(0.1, gt=0, description="learning rate of the id embeddings (sparse Adagrad)")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout in the encoder's trunk and in the decoder")
    id_dropout: float = Field(0.05, ge=0, lt=1, description="share of ids replaced with the unknown id 0 in training")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 on a GPU that supports it")

    @model_validator(mode="after")
    def _range_is_rising(self) -> PreferenceConfig:
        smallest, largest = self.cluster_range
        if not 1 <= smallest <= largest:
            raise ValueError(f"cluster_range must be two rising numbers from 1 on, found {smallest}, {largest}")
        if self.choose_clusters == "text" and self.reconstructs == "ratings":
            raise ValueError("choose_clusters=text needs reconstructs=ratings+words or ratings+features")
        return self

    @property
    def text_kind(self) -> Literal["features", "words"] | None:
        """What stage 1 reads of the texts; None if it reconstructs ratings only."""
        kinds: dict[str, Literal["features", "words"]] = {"ratings+features": "features", "ratings+words": "words"}
        return kinds.get(self.reconstructs)


class ExplainerConfig(_Strict):
    """Stage 2: the language model with experts and its training.

    Some settings have a default that depends on whether there is a base model; null stands for it
    (`resolve_defaults`).
    """

    # Model size (of a language model trained from scratch)
    hidden: int = Field(192, ge=8, description="width of the from-scratch language model")
    layers: int = Field(2, ge=1, description="decoder layers of the from-scratch language model")
    heads: int = Field(4, ge=1, description="attention heads of the from-scratch language model")
    vocabulary: int = Field(4000, ge=300, description="largest size of the tokenizer trained on the corpus")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout of soft tokens, input embeddings and experts' outputs")

    # Experts
    initialisation: Literal["adapter", "partition", "replicate", "random"] | None = Field(
        None, description="what experts start from; null: adapter beside a base model's FFNs, random from scratch"
    )
    partition: Literal["random", "clustered"] = Field("random", description="how partition divides an FFN's neurons")
    experts: int = Field(4, ge=1, description="N, number of experts before refinement")
    expert_width: int = Field(192, ge=1, description="d, width of a random expert before refinement")
    expert_rank: int = Field(32, ge=1, description="d, width of an adapter's low-rank expert before refinement")
    top_k: int = Field(2, ge=1, description="k, experts per token before refinement")
    granularity: int = Field(2, ge=1, description="r: r*N experts of width d/r, top r*k")
    shared_experts: int | None = Field(
        None,
        ge=0,
        description="refined experts that every token passes through; null: none on a base, as many as a token selects "
        "from scratch",
    )
    moe_layers: list[int] | None = Field(
        None, description="decoder layers that get experts, from 0; null: all; []: none"
    )

    # Gates
    gate_clusters: Literal["model", "random", "kmeans", "one"] = Field(
        "model", description="which clusters choose the gate: stage 1's; the others are ablations"
    )
    gate: Literal["paper", "shared"] = Field(
        "paper",
        description="paper: a gate of its own per cluster; shared: one gate that all clusters train, with a deviation "
        "per cluster that learns more slowly",
    )
    router_jitter: float = Field(
        0.0, ge=0, lt=1, description="in training, the gate's inputs are scaled by a random factor in 1 +- this value"
    )
    balance_weight: float = Field(0.01, ge=0, description="weight of the load-balancing loss")
    z_weight: float = Field(0.001, ge=0, description="weight of the router z loss")

    # Prompt and soft tokens
    soft_token_width: int = Field(
        64, ge=0, description="dimensions of the soft tokens' own user and item vectors, beside stage 1's vectors"
    )
    use_preference_vectors: bool = Field(
        True,
        description="give stage 1's vectors to the soft tokens; with false and soft_token_width=0 only gates know them",
    )
    prompt_template: str | None = Field(
        None,
        description="special-tokens, natural, or a Jinja file of your own; null: natural on a base model, "
        "special-tokens from scratch",
    )
    prompt_tokens: int = Field(
        192, ge=8, description="longest prompt in words, in tokens; quotations are dropped first, then texts are cut"
    )
    chat_template: bool = Field(
        False, description="wrap a prompt in words in the base model's chat template, as a message of the user"
    )
    evidence: int | None = Field(
        None,
        ge=0,
        le=8,
        description="sentences by other users about the item that the prompt quotes: of the same cluster, and in a "
        "prompt in words of other clusters if these are too few; null: 3 in a prompt in words, else 0",
    )
    history: int = Field(
        2, ge=0, le=8, description="sentences by the user about other items that a prompt in words quotes"
    )
    context_dropout: float = Field(
        0.2, ge=0, le=1, description="share of training prompts in words with less context than the data has"
    )
    rating_dropout: float = Field(0.1, ge=0, le=1, description="share of training prompts without the rating")
    feature_dropout: float = Field(0.2, ge=0, le=1, description="share of training prompts without the feature")
    id_dropout: float = Field(0.05, ge=0, lt=1, description="share of ids replaced with the unknown id 0 in training")

    # LoRA and saving
    tuning: Literal["full", "lora"] | None = Field(
        None, description="train all weights, or low-rank factors of a frozen base; null: lora on a base, else full"
    )
    lora_targets: Literal["attention", "all"] = Field(
        "attention", description="layers with low-rank factors: attention, or all linear layers that are kept"
    )
    lora_rank: int = Field(16, ge=1, description="rank of the low-rank factors")
    lora_alpha: float = Field(32, gt=0, description="the product of the factors is scaled by alpha / rank")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="dropout of the low-rank factors' input")
    lora_experts: bool = Field(True, description="train pretrained experts by low-rank factors; false: all weights")
    load_in_4bit: bool = Field(False, description="hold the frozen base in 4 bits while training; needs a GPU")
    save: Literal["merged", "adapter"] = Field(
        "merged", description="save the whole model, or only the trained weights with a reference to the base"
    )

    # Optimisation
    batch_size: int = Field(16, ge=1, description="sequences per step, over all processes and accumulated batches")
    accumulation: int = Field(1, ge=1, description="batches whose gradients are accumulated per step, to save memory")
    gradient_checkpointing: bool = Field(False, description="recompute activations in backward, to save memory")
    learning_rate: float | None = Field(None, gt=0, description="null: 2e-4 on a base, 2e-3 from scratch")
    gate_rate_factor: float | None = Field(
        None, gt=0, description="learning_rate times this is the rate of the gates; null: 1 on a base, 0.1 from scratch"
    )
    vector_rate_factor: float | None = Field(
        None,
        gt=0,
        description="learning_rate times this is the rate of the soft tokens' vectors; null: 1 on a base, 5 from "
        "scratch",
    )
    weight_decay: float = Field(0.05, ge=0, description="weight decay (AdamW)")
    warmup_ratio: float = Field(0.05, ge=0, lt=1, description="share of the steps in which the learning rate rises")
    epochs: int = Field(7, ge=1, description="largest number of epochs")
    update_epochs: int = Field(2, ge=1, description="largest number of epochs of an update (train --update)")
    patience: int = Field(2, ge=1, description="epochs without a better validation loss before stopping")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="auto: bf16 on a GPU that supports it; for LoRA at width 512 or more, also on a CPU with "
        "AVX512-bf16 or AMX",
    )
    compile: bool | None = Field(
        None, description="compile the layers for training (torch.compile); null: on one GPU, for 1,000 steps or more"
    )
    tensorboard: bool = Field(False, description="also write the losses to RUN/tensorboard")

    # Decoding
    candidates: int = Field(8, ge=1, le=64, description="drafts per text; the one most like the others is kept (MBR)")
    mbr_references: int = Field(
        16, ge=0, le=64, description="sentences by the user, and about the item, that drafts are compared with; 0: none"
    )
    mbr_content_words: bool = Field(
        False, description="drafts are compared by content words: rare words weigh more, repeated ones count against"
    )
    temperature: float = Field(0.5, ge=0, description="temperature of sampling; 0 takes the most likely token")
    top_p: float = Field(0.9, gt=0, le=1, description="share of the probability that sampling draws from")

    # Data
    max_reviews: int | None = Field(
        None,
        ge=1,
        description="train on at most so many reviews, and validate on a fifth of that, drawn by the seed; null: all",
    )
    max_tokens: int = Field(64, ge=4, description="longest explanation, in tokens; longer training texts are cut")

    @property
    def max_valid_reviews(self) -> int | None:
        """How many reviews to validate on at most, where the number of training reviews is limited."""
        return None if self.max_reviews is None else -(-self.max_reviews // VALIDATION_PART)

    def with_shared_experts(self, base: bool) -> ExplainerConfig:
        """Return the settings with a number of shared experts: by default none on a base, else those of a token.

        Args:
            base: whether there is a base model.
        """
        if self.shared_experts is not None:
            return self
        return self.model_copy(update={"shared_experts": 0 if base else self.top_k * self.granularity})

    def prompt_in_words(self, base: bool) -> bool:
        """Return whether prompts are in words, by a template, instead of special tokens.

        Args:
            base: whether there is a base model.
        """
        return (self.prompt_template or (NATURAL if base else SPECIAL)) != SPECIAL

    def resolve_defaults(self, base: bool) -> ExplainerConfig:
        """Return the settings with each null replaced with its default.

        Args:
            base: whether there is a base model.

        Raises:
            ConfigError: settings contradict each other, or need a base model that is not there.
        """
        defaults: dict[str, Any] = (
            {"initialisation": "adapter", "tuning": "lora", "learning_rate": 2e-4}
            if base
            else {"initialisation": "random", "tuning": "full", "learning_rate": 2e-3}
        )
        defaults |= {"gate_rate_factor": 1.0 if base else 0.1, "vector_rate_factor": 1.0 if base else 5.0}
        defaults["prompt_template"] = NATURAL if self.prompt_in_words(base) else SPECIAL
        defaults["evidence"] = NATURAL_EVIDENCE if self.prompt_in_words(base) else 0
        missing = {key: value for key, value in defaults.items() if getattr(self, key) is None}
        resolved = self.with_shared_experts(base).model_copy(update=missing)
        if not base and resolved.initialisation != "random":
            raise ConfigError(
                f"explainer.initialisation={resolved.initialisation} starts from a --base-model; name one"
            )
        if not base and (each := resolved.hidden // resolved.heads) % 2:
            raise ConfigError(
                f"explainer.hidden={resolved.hidden} gives each of {resolved.heads} heads {each} dimensions, and "
                f"rotary positions take them in pairs; choose a multiple of {2 * resolved.heads}"
            )
        if not base and resolved.tuning != "full":
            raise ConfigError("explainer.tuning=lora trains beside a frozen --base-model; name one")
        if resolved.save == "adapter" and (resolved.tuning != "lora" or resolved.partition == "clustered"):
            raise ConfigError(
                "explainer.save=adapter keeps what LoRA trained on a base that is built again elsewhere: it needs "
                "explainer.tuning=lora and no clustered partition; or choose explainer.save=merged"
            )
        if resolved.load_in_4bit and not (resolved.initialisation == resolved.save == "adapter"):
            raise ConfigError("explainer.load_in_4bit needs initialisation=adapter and save=adapter")
        if resolved.tuning == "lora" and resolved.low_rank_experts and resolved.lora_dropout:
            raise ConfigError("explainer.lora_dropout must be 0 with low-rank experts; or set lora_experts=false")
        return resolved

    @property
    def low_rank_experts(self) -> bool:
        """Whether LoRA trains the experts, copies of the base's FFNs, by low-rank factors."""
        return self.lora_experts and self.initialisation in ("partition", "replicate")

    @model_validator(mode="after")
    def _sizes_fit(self) -> ExplainerConfig:
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} must be a multiple of heads {self.heads}")
        for name in ("expert_width", "expert_rank"):
            if getattr(self, name) % self.granularity:
                raise ValueError(
                    f"{name} {getattr(self, name)} must be a multiple of granularity {self.granularity}, "
                    "because each expert is divided into that many"
                )
        if self.batch_size % self.accumulation:
            raise ValueError(f"batch_size {self.batch_size} must be a multiple of accumulation {self.accumulation}")
        if self.top_k > self.experts:
            raise ValueError(f"top_k {self.top_k} cannot exceed experts {self.experts}")
        return self


class RunConfig(_Strict):
    """A whole run: both stages and the seed."""

    seed: int = Field(0, ge=0, le=2**32 - 1, description="seed of every random draw")
    preference: PreferenceConfig = Field(PreferenceConfig(), description="stage 1")
    explainer: ExplainerConfig = Field(ExplainerConfig(), description="stage 2")
