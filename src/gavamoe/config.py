"""One typed configuration per step, and the presets. Unknown keys and values out of range are refused by name."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gavamoe.errors import ConfigError

# Old names of settings, still accepted in files, in --set and in the run.yaml of older runs.
RENAMED = {
    "preference": {"vector_rate": "embedding_learning_rate"},
    "explainer": {
        "side_width": "soft_token_width",
        "taste_vectors": "use_preference_vectors",
        "heard": "mbr_references",
    },
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PreferenceConfig(_Strict):
    """Stage 1: the preference model and its training."""

    clusters: int = Field(5, ge=1, description="K, components of the mixture prior")
    choose_clusters: Literal["bic", "elbo"] | None = Field(
        None, description="K of cluster_range: by BIC of the users' latents, or held-out ELBO; null: `clusters`"
    )
    cluster_range: tuple[int, int] = Field((2, 12), description="smallest and largest K to choose among")
    latent: int = Field(16, ge=2, description="dimensions of z; half belong to the user, half to the item")
    embedding: int = Field(32, ge=1, description="dimensions of the user and item vectors")
    hidden: int = Field(64, ge=1, description="width of trunk and decoder")
    item_features: int = Field(0, ge=0, description="dimensions of items' title, categories, description; 0: unused")
    dropout: float = Field(0.0, ge=0, lt=1)
    beta: float = Field(1.0, ge=0, description="weight of the KL, counted once a user and once an item, in the ELBO")
    pretrain_epochs: int = Field(60, ge=1, description="at most so many epochs as a plain autoencoder")
    warmup_epochs: int = Field(5, ge=0, description="epochs over which beta rises to its value")
    epochs: int = Field(60, ge=1, description="at most so many epochs with the prior")
    patience: int = Field(6, ge=1, description="epochs without a better validation objective before stopping")
    restarts: int = Field(10, ge=1, description="random starts of the mixture fit; the likeliest is kept")
    batch_size: int = Field(512, ge=1, description="pairs a step; fewer where there are few reviews")
    learning_rate: float = Field(3e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0, description="of the networks (AdamW)")
    embedding_learning_rate: float = Field(0.1, gt=0, description="learning rate of the id vectors (sparse Adagrad)")
    id_dropout: float = Field(0.05, ge=0, lt=1, description="how often an id becomes unknown, which trains id 0")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 on a GPU that has it")

    @model_validator(mode="after")
    def _range_holds_something(self) -> PreferenceConfig:
        smallest, largest = self.cluster_range
        if not 1 <= smallest <= largest:
            raise ValueError(f"cluster_range must be two rising numbers from 1 on, found {smallest}, {largest}")
        return self


class ExplainerConfig(_Strict):
    """Stage 2: the language model, its experts and its training.

    Where null is said to be the default, the choice follows from whether there is a base model (`resolve_defaults`).
    """

    initialisation: Literal["adapter", "partition", "replicate", "random"] | None = Field(
        None, description="what experts start from; null: adapter beside a base model's FFNs, random from scratch"
    )
    partition: Literal["random", "clustered"] = Field("random", description="how partition divides a FFN's neurons")
    hidden: int = Field(192, ge=8, description="width of the from-scratch language model")
    layers: int = Field(2, ge=1)
    heads: int = Field(4, ge=1)
    vocabulary: int = Field(4000, ge=300, description="largest size of the tokenizer trained on the corpus")
    experts: int = Field(4, ge=1, description="N experts before refinement")
    expert_width: int = Field(192, ge=1, description="d, width of a random expert before refinement")
    expert_rank: int = Field(32, ge=1, description="d of an adapter's low-rank expert before refinement")
    top_k: int = Field(2, ge=1, description="k experts a token before refinement")
    granularity: int = Field(2, ge=1, description="r: r*N experts of width d/r, top r*k")
    shared_experts: int = Field(0, ge=0, description="refined experts every token passes through")
    moe_layers: list[int] | None = Field(None, description="decoder layers that get experts, from 0; null: all")
    router_jitter: float = Field(0.0, ge=0, lt=1, description="in training, the gate's inputs vary by 1 +- so much")
    balance_weight: float = Field(0.01, ge=0, description="weight of the load-balancing loss")
    z_weight: float = Field(0.001, ge=0, description="weight of the router z loss")
    soft_token_width: int = Field(
        64, ge=0, description="dimensions of user and item that the texts teach, after stage 1's"
    )
    use_preference_vectors: bool = Field(
        True,
        description="whether soft tokens hold stage 1's vectors; without soft_token_width, false leaves only gates",
    )
    gate_clusters: Literal["model", "random", "kmeans", "one"] = Field(
        "model", description="which clusters choose the gate: stage 1's; the others are ablations"
    )
    dropout: float = Field(0.1, ge=0, lt=1)
    tuning: Literal["full", "lora"] | None = Field(
        None, description="train all weights, or low-rank factors of a frozen base; null: lora on a base, else full"
    )
    lora_rank: int = Field(16, ge=1)
    lora_alpha: float = Field(32, gt=0, description="the factors' product counts alpha / rank")
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    lora_experts: bool = Field(True, description="pretrained experts learn low-rank factors; false: all their weights")
    load_in_4bit: bool = Field(False, description="hold the frozen base in 4 bits while training; needs a GPU")
    save: Literal["merged", "adapter"] = Field(
        "merged", description="a run with the whole model, or with what was trained and a reference to the base"
    )
    batch_size: int = Field(16, ge=1, description="sequences a step, over all processes and accumulated batches")
    accumulation: int = Field(1, ge=1, description="batches that a step is accumulated from, to save memory")
    gradient_checkpointing: bool = Field(False, description="recompute activations in backward, to save memory")
    learning_rate: float | None = Field(None, gt=0, description="null: 2e-4 on a base, 2e-3 from scratch")
    weight_decay: float = Field(0.05, ge=0)
    warmup_ratio: float = Field(0.05, ge=0, lt=1)
    epochs: int = Field(7, ge=1)
    patience: int = Field(2, ge=1, description="epochs without a better validation loss before stopping")
    max_tokens: int = Field(64, ge=4, description="longest explanation, in tokens; longer training texts are cut")
    candidates: int = Field(8, ge=1, le=64, description="drafts of a text; the one most like the others is kept")
    mbr_references: int = Field(
        16, ge=0, le=64, description="sentences by the user, and about the item, that drafts are compared with; 0: none"
    )
    temperature: float = Field(0.5, ge=0, description="of sampling; 0 always takes the likeliest token")
    top_p: float = Field(0.9, gt=0, le=1, description="share of the probability that sampling draws from")
    rating_dropout: float = Field(0.1, ge=0, le=1, description="how often training hides the rating from the prompt")
    feature_dropout: float = Field(0.2, ge=0, le=1, description="how often training hides the feature from the prompt")
    id_dropout: float = Field(0.05, ge=0, lt=1, description="how often an id becomes unknown, which trains id 0")
    evidence: int = Field(0, ge=0, le=8, description="sentences by others of the same taste that the prompt quotes")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 on a GPU that has it")
    tensorboard: bool = Field(False, description="write the losses to RUN/tensorboard too")

    def resolve_defaults(self, base: bool) -> ExplainerConfig:
        """With every null decided for a model around a base, or from scratch; `ConfigError` where that contradicts."""
        defaults: dict[str, Any] = (
            {"initialisation": "adapter", "tuning": "lora", "learning_rate": 2e-4}
            if base
            else {"initialisation": "random", "tuning": "full", "learning_rate": 2e-3}
        )
        undecided = {key: value for key, value in defaults.items() if getattr(self, key) is None}
        resolved = self.model_copy(update=undecided)
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
        if resolved.load_in_4bit and (resolved.initialisation, resolved.save) != (
            "adapter",
            "adapter",
        ):
            raise ConfigError("explainer.load_in_4bit needs initialisation=adapter and save=adapter")
        low_rank = resolved.lora_experts and resolved.initialisation in ("partition", "replicate")
        if resolved.tuning == "lora" and low_rank and resolved.lora_dropout:
            raise ConfigError("explainer.lora_dropout must be 0 with low-rank experts; or set lora_experts=false")
        return resolved

    @model_validator(mode="after")
    def _divisible(self) -> ExplainerConfig:
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

    seed: int = Field(0, ge=0, le=2**32 - 1)
    preference: PreferenceConfig = PreferenceConfig()
    explainer: ExplainerConfig = ExplainerConfig()


def preset_names() -> list[str]:
    """The presets that come with the package."""
    return sorted(
        entry.name.removesuffix(".yaml") for entry in files("gavamoe.presets").iterdir() if entry.name.endswith(".yaml")
    )


def load_config(preset: str = "small", config_file: Path | None = None, settings: list[str] | None = None) -> RunConfig:
    """Preset, then the file's values, then each `key=value` setting (`explainer.experts=16`), later ones winning."""
    if preset not in preset_names():
        raise ConfigError(f"there is no preset '{preset}'; choose one of {', '.join(preset_names())}")
    tree = yaml.safe_load(files("gavamoe.presets").joinpath(f"{preset}.yaml").read_text("utf-8")) or {}
    if config_file is not None:
        tree = merge(tree, read_yaml(config_file))
    for setting in settings or []:
        tree = merge(tree, nested(*parse_setting(setting)))
    return parse_config(tree)


def parse_config(tree: dict[str, Any]) -> RunConfig:
    """Check a nested mapping; the first thing wrong becomes a `ConfigError` that names the key."""
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
    step = RunConfig.model_fields.get(str(location[0])) if len(location) > 1 else None
    model = step.annotation if step is not None else RunConfig
    return sorted(getattr(model, "model_fields", {}))


def read_yaml(path: Path) -> dict[str, Any]:
    """The keys and values of a configuration file; `ConfigError` names what is wrong with it."""
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
    """`key=value` as the dotted key and the value."""
    key, equals, value = setting.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set takes key=value, like explainer.experts=16, not '{setting}'")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError(f"--set {key}: '{value}' is not a value") from None


def nested(key: str, value: Any) -> dict[str, Any]:
    """A dotted key and its value as nested mappings."""
    for part in reversed(key.split(".")):
        value = {part: value}
    tree: dict[str, Any] = value
    return tree


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Merge two nested mappings of settings; where both have a value, `over` wins. Old names become current ones."""
    return _merge(with_current_names(base), with_current_names(over))


def with_current_names(tree: dict[str, Any]) -> dict[str, Any]:
    """Return the tree with renamed settings under their current names (`RENAMED`).

    Raises:
        ConfigError: a setting is given under its old and under its current name.
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
