"""The settings of a run: what they are (`settings`), and how presets, files and `--set` change them (`load`).

Import the names from here: `from gavamoe.config import ExplainerConfig, load_config`.
"""

from gavamoe.config.load import (
    AUTO,
    AUTO_WITH_BASE,
    DEFAULT_PRESET,
    RENAMED,
    changed_config,
    load_config,
    merge,
    nested,
    parse_config,
    parse_setting,
    preset_names,
    preset_settings,
    preset_with_base,
    read_yaml,
    reviews_to_train,
    with_current_names,
)
from gavamoe.config.settings import (
    NATURAL,
    NATURAL_EVIDENCE,
    SPECIAL,
    VALIDATION_PART,
    ExplainerConfig,
    PreferenceConfig,
    RunConfig,
)

__all__ = [
    "AUTO",
    "AUTO_WITH_BASE",
    "DEFAULT_PRESET",
    "NATURAL",
    "NATURAL_EVIDENCE",
    "RENAMED",
    "SPECIAL",
    "VALIDATION_PART",
    "ExplainerConfig",
    "PreferenceConfig",
    "RunConfig",
    "changed_config",
    "load_config",
    "merge",
    "nested",
    "parse_config",
    "parse_setting",
    "preset_names",
    "preset_settings",
    "preset_with_base",
    "read_yaml",
    "reviews_to_train",
    "with_current_names",
]
