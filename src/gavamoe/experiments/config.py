"""What a comparison runs: systems, variants, seeds, conditions and settings; from a YAML file and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from gavamoe.conditions import Condition, Source
from gavamoe.config import RunConfig, load_config, merge, nested, parse_config, read_yaml
from gavamoe.errors import ConfigError

OURS = "gavamoe"
DEFAULT_MODELS = (OURS, "att2seq", "nrt", "peter", "pepler", "xrec", "lightgcn", "item-mode", "random-sentence")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ConditionOf(_Strict):
    """What systems may be told of a pair."""

    rating: Source = "predicted"
    feature: Source = "predicted"

    @property
    def condition(self) -> Condition:
        """As the systems take it."""
        return Condition(self.rating, self.feature)


class Variant(_Strict):
    """GaVaMoE with other settings."""

    set: dict[str, Any] = Field(description="settings by their dotted names, like explainer.granularity: 1")


class Recipe(_Strict):
    """A comparison. The first model, or gavamoe where it is among them, is the one that others are tested against."""

    models: tuple[str, ...] = DEFAULT_MODELS
    seeds: int = Field(3, ge=1, description="seeds 0 .. seeds - 1")
    preset: str = "small"
    base_model: str | None = Field(None, description="LM that gavamoe, pepler and xrec start from; none: from scratch")
    settings: dict[str, Any] = Field({}, description="settings of all systems by their dotted names")
    conditions: tuple[ConditionOf, ...] = Field((ConditionOf(),), min_length=1)
    variants: dict[str, Variant] = {}

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

    @property
    def subject(self) -> str:
        """The model that the others are tested against."""
        return OURS if OURS in self.models else self.models[0]

    def config(self, seed: int, variant: dict[str, Any] | None = None) -> RunConfig:
        """The configuration of a run."""
        tree = load_config(self.preset).model_dump()
        for key, value in {**self.settings, **(variant or {}), "seed": seed}.items():
            tree = merge(tree, nested(key, value))
        return parse_config(tree)


def load_recipe(path: Path | None, **given: Any) -> Recipe:
    """The file's recipe, or the default one, with what is given (and not None) over it; `settings` are added."""
    tree = read_yaml(path) if path is not None else {}
    given = {key: value for key, value in given.items() if value is not None}
    if "settings" in given:
        of_file = tree.get("settings") or {}
        given["settings"] = {**of_file, **given["settings"]} if isinstance(of_file, dict) else of_file
    try:
        recipe = Recipe.model_validate({**tree, **given})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "recipe"
        message = first["msg"].removeprefix("Value error, ")
        known = f"; known are {', '.join(Recipe.model_fields)}" if first["type"] == "extra_forbidden" else ""
        raise ConfigError(f"{path or 'recipe'}, {key}: {message}{known}") from None
    recipe.config(0)
    return recipe
