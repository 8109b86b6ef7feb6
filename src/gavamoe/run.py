"""A run directory: what lies where, and one clear line when something is missing.

run.yaml           what was asked for: data, preset, configuration, seed
catalog/           users, items, rating scale, features, training history
preference/        stage 1
explainer/         stage 2 with its tokenizer and generation settings
training.json      loss records of both stages
metrics.json, predictions.jsonl, report.html, README.md
evaluations/       metrics and predictions of each data, split and condition; those above are the last
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gavamoe.config import RunConfig, parse_config
from gavamoe.errors import RunError
from gavamoe.files import staged_file

VERSION = 1


@dataclass(frozen=True)
class RunDirectory:
    """Paths inside one run."""

    path: Path

    @property
    def card(self) -> Path:
        """What was asked for."""
        return self.path / "run.yaml"

    @property
    def catalog(self) -> Path:
        """Names, scale, history."""
        return self.path / "catalog"

    @property
    def preference(self) -> Path:
        """Stage 1."""
        return self.path / "preference"

    @property
    def explainer(self) -> Path:
        """Stage 2."""
        return self.path / "explainer"

    @property
    def checkpoints(self) -> Path:
        """Training state of an unfinished stage; gone when the stage is done."""
        return self.path / "checkpoints"

    @property
    def evaluations(self) -> Path:
        """What was measured under which condition."""
        return self.path / "evaluations"

    @property
    def tensorboard(self) -> Path:
        """Losses of stage 2 for TensorBoard, where they were asked for."""
        return self.path / "tensorboard"

    @property
    def training(self) -> Path:
        """Loss records."""
        return self.path / "training.json"

    def digest(self) -> str:
        """Return a SHA-256, in hex, of every file that a text depends on; a copy of the run has the same digest."""
        total = hashlib.sha256()
        for folder in (self.catalog, self.preference, self.explainer):
            for file in sorted(path for path in folder.rglob("*") if path.is_file()):
                with file.open("rb") as opened:
                    content = hashlib.file_digest(opened, "sha256").hexdigest()
                total.update(f"{file.relative_to(self.path).as_posix()}\0{content}\n".encode())
        return total.hexdigest()

    def discard_checkpoints(self) -> None:
        """Delete the training state: the stage it led to is saved, or is to be begun anew."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def has(self, parts: tuple[str, ...]) -> bool:
        """Whether all of these files (relative paths; a bar between alternatives) are there."""
        return all(any((self.path / name).is_file() for name in part.split("|")) for part in parts)

    def require(self, *parts: str) -> None:
        """Check that the run and these files (relative paths) are there; `RunError` names the first that is not."""
        if not self.path.is_dir():
            raise RunError(f"there is no run at {self.path}; make one with `gavamoe train DATA --out {self.path}`")
        for part in ("run.yaml", *parts):
            if not self.has((part,)):
                raise RunError(
                    f"the run {self.path} is not complete: {part.replace('|', ' or ')} is missing; finish it with "
                    f"`gavamoe train DATA --out {self.path} --resume`, or copy the whole directory again"
                )

    def read_training(self) -> dict[str, list[dict[str, Any]]]:
        """The loss records of the stages trained so far: preference, explainer."""
        return json.loads(self.training.read_text(encoding="utf-8")) if self.training.is_file() else {}

    def write_card(self, card: RunCard) -> None:
        """Write run.yaml."""
        tree = {
            "version": VERSION,
            "data": card.data,
            "preset": card.preset,
            "base_model": card.base_model,
            "config": card.settings.model_dump(),
        }
        with staged_file(self.card) as staged:
            staged.write_text(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), encoding="utf-8")

    def read_card(self) -> RunCard:
        """Read run.yaml."""
        self.require()
        try:
            tree: dict[str, Any] = yaml.safe_load(self.card.read_text(encoding="utf-8"))
            return RunCard(tree["data"], tree["preset"], tree["base_model"], parse_config(tree["config"]))
        except (yaml.YAMLError, KeyError, TypeError, UnicodeDecodeError):
            raise RunError(
                f"{self.card} cannot be read as the card of a run; copy it again from where it was made"
            ) from None


@dataclass(frozen=True)
class RunCard:
    """What run.yaml holds: the prepared data a run was trained on, and how."""

    data: str
    preset: str
    base_model: str | None
    config: RunConfig | None  # None only while it is asked for: "as the run has it"

    @property
    def settings(self) -> RunConfig:
        """The configuration of a run that has one."""
        if self.config is None:
            raise ValueError("the card of a run needs a configuration")
        return self.config


# What a finished stage leaves; the names that `require` asks for. Alternatives stand with a bar between them.
CATALOG_FILES = ("catalog/catalog.json", "catalog/users.parquet", "catalog/items.parquet", "catalog/history.parquet")
PREFERENCE_FILES = ("preference/config.json", "preference/model.safetensors")
EXPLAINER_FILES = (
    "explainer/config.json",
    "explainer/model.safetensors|explainer/adapter_model.safetensors",
    "explainer/tokenizer.json",
    "explainer/generation_config.json",
)
