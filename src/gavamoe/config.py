"""The settings of a run, typed, with their defaults, and how presets, files and `--set` change them.

PreferenceConfig   stage 1: the preference model and its training
ExplainerConfig    stage 2: the language model with experts, its training, decoding and prompts
RunConfig          both stages and the seed
load_config        preset, then configuration file, then `--set key=value`; later values win

An unknown setting, or a value out of range, is a `ConfigError` that names the setting.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gavamoe.errors import ConfigError
from gavamoe.presets.auto import auto_settings

# Old names of settings, by step. Files, `--set` and the run.yaml of older runs may still use them.
RENAMED = {
    "preference": {"vector_rate": "embedding_learning_rate"},
    "explainer": {
        "side_width": "soft_token_width",
        "taste_vectors": "use_preference_vectors",
        "heard": "mbr_references",
    },
}

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
    shared_experts: int = Field(0, ge=0, description="refined experts that every token passes through")
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
        defaults["prompt_template"] = NATURAL if self.prompt_in_words(base) else SPECIAL
        defaults["evidence"] = NATURAL_EVIDENCE if self.prompt_in_words(base) else 0
        missing = {key: value for key, value in defaults.items() if getattr(self, key) is None}
        resolved = self.model_copy(update=missing)
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


DEFAULT_PRESET = "small"
AUTO = "auto"  # the preset that depends on the data (`gavamoe.presets.auto`)
AUTO_WITH_BASE = "pretrained"  # the preset that auto is with a base model


def preset_names() -> list[str]:
    """Return the names of the presets that are files of the package, sorted."""
    return sorted(
        entry.name.removesuffix(".yaml") for entry in files("gavamoe.presets").iterdir() if entry.name.endswith(".yaml")
    )


def preset_with_base(preset: str, base_model: str | None) -> str:
    """Return the preset that is meant: auto with a base model is `pretrained`."""
    return AUTO_WITH_BASE if preset == AUTO and base_model is not None else preset


def reviews_to_train(tree: dict[str, Any], reviews: int) -> int:
    """Return how many of the training reviews stage 2 takes with the settings of a nested mapping."""
    explainer = tree.get("explainer")
    limit = explainer.get("max_reviews") if isinstance(explainer, dict) else None
    return min(reviews, limit) if isinstance(limit, int) else reviews


def load_config(
    preset: str = DEFAULT_PRESET,
    config_file: Path | None = None,
    settings: list[str] | None = None,
    reviews: int | None = None,
) -> RunConfig:
    """Return the settings of a run; later sources override earlier ones.

    Args:
        preset: name of a preset, the first source.
        config_file: YAML file, the second source.
        settings: `key=value` texts like `explainer.experts=16`, the last source.
        reviews: number of training reviews with a text, which the preset auto needs.

    Raises:
        ConfigError: a source is invalid, or a setting is unknown or out of range.
    """
    own = {} if config_file is None else read_yaml(config_file)
    for setting in settings or []:
        own = merge(own, nested(*parse_setting(setting)))
    if reviews is not None:
        reviews = reviews_to_train(own, reviews)
    return parse_config(merge(preset_settings(preset, reviews), own))


def changed_config(kept: RunConfig, config_file: Path | None, settings: list[str]) -> RunConfig:
    """Return a configuration, overridden by a YAML file and by `key=value` texts.

    Raises:
        ConfigError: a setting is unknown or out of range.
    """
    tree = kept.model_dump()
    if config_file is not None:
        tree = merge(tree, read_yaml(config_file))
    for setting in settings:
        tree = merge(tree, nested(*parse_setting(setting)))
    return parse_config(tree)


def preset_settings(preset: str, reviews: int | None = None) -> dict[str, Any]:
    """Return what a preset changes of the defaults; arguments and errors as in `load_config`."""
    if preset == AUTO and reviews is not None:
        return auto_settings(reviews)
    if preset == AUTO:
        raise ConfigError("the preset auto depends on the data, and none is given here; choose another preset")
    if preset not in preset_names():
        raise ConfigError(f"there is no preset '{preset}'; choose one of {', '.join([AUTO, *preset_names()])}")
    return yaml.safe_load(files("gavamoe.presets").joinpath(f"{preset}.yaml").read_text("utf-8")) or {}


def parse_config(tree: dict[str, Any]) -> RunConfig:
    """Return a nested mapping of settings as a checked configuration; old names are accepted.

    Raises:
        ConfigError: names the first setting that is unknown or out of range.
    """
    try:
        return RunConfig.model_validate(with_current_names(tree))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        known = _known_keys(first["loc"])
        if first["type"] == "extra_forbidden":
            raise ConfigError(f"there is no setting '{key}'; known here: {', '.join(known)}") from None
        raise ConfigError(f"setting {key or 'configuration'}: {first['msg'].removeprefix('Value error, ')}") from None


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """Names of all settings beside an unknown one."""
    step = RunConfig.model_fields.get(str(location[0])) if len(location) > 1 else None
    model = step.annotation if step is not None else RunConfig
    return sorted(getattr(model, "model_fields", {}))


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the settings in a YAML file as a nested mapping.

    Raises:
        ConfigError: the file cannot be read, or it does not hold keys and values.
    """
    try:
        tree = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if tree is not None and not isinstance(tree, dict):
        raise ConfigError(f"{path} must hold keys and values, like 'explainer: {{experts: 8}}'")
    return tree or {}


def parse_setting(setting: str) -> tuple[str, Any]:
    """Split `key=value` into the dotted key and the value, which is read as YAML.

    Raises:
        ConfigError: there is no key, no `=`, or no valid value.
    """
    key, equals, value = setting.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set takes key=value, like explainer.experts=16, not '{setting}'")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError(f"--set {key}: '{value}' is not a value") from None


def nested(key: str, value: Any) -> dict[str, Any]:
    """Return a dotted key and its value as nested mappings: `a.b` and 1 give `{"a": {"b": 1}}`."""
    for part in reversed(key.split(".")):
        value = {part: value}
    tree: dict[str, Any] = value
    return tree


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Merge two nested mappings of settings; `over` wins. Old names become current names."""
    return _merge(with_current_names(base), with_current_names(over))


def with_current_names(tree: dict[str, Any]) -> dict[str, Any]:
    """Return a nested mapping of settings with old names (`RENAMED`) replaced with current names.

    Raises:
        ConfigError: a mapping has a setting under its old and under its current name.
    """
    current = dict(tree)
    for step, names in RENAMED.items():
        settings = tree.get(step)
        if not isinstance(settings, dict):
            continue
        for old, new in names.items():
            if old in settings and new in settings:
                raise ConfigError(f"{step}.{old} is the old name of {step}.{new}; give one of them")
        current[step] = {names.get(key, key): value for key, value in settings.items()}
    return current


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both_nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both_nested else value
    return merged
