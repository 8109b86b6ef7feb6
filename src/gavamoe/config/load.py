"""Read settings: a preset, then a configuration file, then `--set key=value`; later values win.

load_config      the settings of a new run
changed_config   the settings of a run, with some of them changed
parse_config     a nested mapping as checked settings; old names are accepted

An unknown setting, or a value out of range, is a `ConfigError` that names the setting.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from gavamoe.config.settings import RunConfig
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
