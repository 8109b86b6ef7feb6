"""The configuration of a comparison: systems, variants, seeds, conditions and settings, from YAML and command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from gavamoe.conditions import Condition, Context, Source
from gavamoe.config import (
    AUTO,
    DEFAULT_PRESET,
    RunConfig,
    load_config,
    merge,
    nested,
    parse_config,
    preset_with_base,
    read_yaml,
    reviews_to_train,
)
from gavamoe.errors import ConfigError
from gavamoe.presets.auto import auto_settings

GAVAMOE = "gavamoe"  # the model of a comparison with none of its settings changed
RATING_MODELS = ("preference", "lightgcn", "mlp", "bias", "mean")  # they learn from ratings alone
DEFAULT_MODELS = (GAVAMOE, "att2seq", "nrt", "peter", "pepler", "xrec", "lightgcn", "item-mode", "random-sentence")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ConditionConfig(_Strict):
    """Which facts about a pair the systems get as input."""

    rating: Source = "predicted"
    feature: Source = "predicted"
    context: Context | None = None

    @property
    def condition(self) -> Condition:
        """The condition that systems are evaluated under."""
        return Condition(self.rating, self.feature, self.context)


class Variant(_Strict):
    """GaVaMoE with other settings."""

    set: dict[str, Any] = Field(description="settings by their dotted names, like explainer.granularity: 1")


class CompareConfig(_Strict):
    """A comparison.

    All systems are tested for significance against one of them, the subject: gavamoe where it is among the models,
    otherwise the first model.
    """

    models: tuple[str, ...] = Field(DEFAULT_MODELS, description="names, or FILE.py:CLASS or MODULE:CLASS of your own")
    seeds: int = Field(3, ge=1, description="seeds 0 .. seeds - 1")
    preset: str = DEFAULT_PRESET
    base_model: str | None = Field(
        None,
        description="LM that gavamoe, its ablations, lora, pepler, pepler-d, xrec, zero-shot and few-shot start from; "
        "none: from scratch",
    )
    settings: dict[str, Any] = Field({}, description="settings of all systems by their dotted names")
    conditions: tuple[ConditionConfig, ...] = Field((ConditionConfig(),), min_length=1)
    variants: dict[str, Variant] = {}
    limit: int | None = Field(None, ge=1, description="evaluate on this many reviews of the split, drawn at random")

    @field_validator("models")
    @classmethod
    def _each_once(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        if not models or len(set(models)) < len(models):
            raise ValueError(f"models must be named once each, found {', '.join(models) or 'none'}")
        return models

    @field_validator("settings")
    @classmethod
    def _seeds_apart(cls, settings: dict[str, Any]) -> dict[str, Any]:
        if "seed" in settings:
            raise ValueError("seed is no setting of a comparison, which has seeds 0 to seeds - 1; choose how many")
        return settings

    def run_config(self, settings: dict[str, Any] | None = None, seed: int = 0) -> RunConfig:
        """Return the configuration of a run: the preset, the comparison's settings, then `settings`.

        The number of shared experts is resolved, because the ablations depend on it.

        Raises:
            ConfigError: a setting is unknown or out of range.
        """
        tree = load_config(self.preset).model_dump()
        for key, value in {**self.settings, **(settings or {}), "seed": seed}.items():
            tree = merge(tree, nested(key, value))
        config = parse_config(tree)
        return config.model_copy(update={"explainer": config.explainer.with_shared_experts(bool(self.base_model))})


def load_compare_config(path: Path | None, reviews: Callable[[], int] | None = None, **given: Any) -> CompareConfig:
    """Return the configuration of a YAML file, or the default one, with the given values over it.

    Args:
        path: the file; None for the defaults.
        reviews: counts the training reviews with a text; called for the preset auto, which needs it.
        given: values by field name, ignored where None; `settings` are added to those of the file.

    Raises:
        ConfigError: a key or a value is not valid; names it.
    """
    tree = read_yaml(path) if path is not None else {}
    given = {key: value for key, value in given.items() if value is not None}
    if "settings" in given:
        of_file = tree.get("settings") or {}
        given["settings"] = {**of_file, **given["settings"]} if isinstance(of_file, dict) else of_file
    try:
        config = CompareConfig.model_validate({**tree, **given})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "comparison"
        message = first["msg"].removeprefix("Value error, ")
        known = f"; known are {', '.join(CompareConfig.model_fields)}" if first["type"] == "extra_forbidden" else ""
        raise ConfigError(f"{path or 'comparison'}, {key}: {message}{known}") from None
    config = config.model_copy(update={"preset": preset_with_base(config.preset, config.base_model)})
    if config.preset == AUTO and reviews is not None:
        config = _without_auto(config, reviews)
    config.run_config()
    return config


def _without_auto(config: CompareConfig, reviews: Callable[[], int]) -> CompareConfig:
    """Return the configuration with what the preset auto is for its data, so that a resumed comparison has it too."""
    tree: dict[str, Any] = {}
    for key, value in config.settings.items():
        tree = merge(tree, nested(key, value))
    explainer = auto_settings(reviews_to_train(tree, reviews()))["explainer"]
    settings = {f"explainer.{key}": value for key, value in explainer.items()}
    return config.model_copy(update={"preset": "small", "settings": {**settings, **config.settings}})
