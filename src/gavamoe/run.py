"""The layout of a run directory: the path of each part, what is missing, and the card run.yaml.

run.yaml           how the run was made: prepared data, preset, base model, settings, the run it is an update of
catalog/           users, items, rating scale, features, training history
preference/        stage 1
explainer/         stage 2 with its tokenizer and generation settings
training.json      training records of both stages
metrics.json       metrics and
predictions.jsonl  predictions of the latest evaluation
evaluations/       metrics and predictions of each data, split and condition
report.html        latent_map.png, README.md (the model card)
checkpoints/       state of an unfinished training
tensorboard/       losses of stage 2, with explainer.tensorboard
manifest.json      the seal: size and SHA-256 of run.yaml, training.json and every file of the three folders above
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gavamoe.config import SPECIAL, RunConfig, parse_config
from gavamoe.errors import ConfigError, RunError
from gavamoe.files import reading, remove_directory, sha256_of_file, staged_file
from gavamoe.seal import MANIFEST, check_seal, is_sealed, sealed_files, write_seal

VERSION = 2
END = "...\n"  # ends run.yaml from version 2 on: a file that was cut off would read as one with fewer settings
PROMPT_TEMPLATE = "prompt.jinja"  # in the folder of stage 2

# The files of each finished part, for `RunDirectory.has` and `require`; a bar separates alternatives.
CATALOG_FILES = ("catalog/catalog.json", "catalog/users.parquet", "catalog/items.parquet", "catalog/history.parquet")
DATASET_FILES = ("card.json", "interactions.parquet")  # what only a prepared dataset has
PREFERENCE_FILES = ("preference/config.json", "preference/model.safetensors")
EXPLAINER_FILES = (
    "explainer/config.json",
    "explainer/model.safetensors|explainer/adapter_model.safetensors",
    "explainer/tokenizer.json",
    "explainer/generation_config.json",
)


# Parts that a run may be shared without, with what is then missing.
MAY_LACK = {"explainer/evidence.parquet": "its texts come without sentences of other reviews"}


@dataclass(frozen=True)
class RunCard:
    """What run.yaml holds: how a run was made.

    Attributes:
        data: the prepared dataset.
        preset: name of the preset that the settings started from.
        base_model: id or directory of the pretrained language model; None for one trained from scratch.
        config: the settings. None only in a request to resume a run with the settings that the run has.
        has_texts: whether any review of the dataset has a text; without texts, only stage 1 can be trained.
        updated_from: the run that this one is an update of, its checksum, and what changed (`pipeline.update`); None
            for a run that was trained anew.
    """

    data: str
    preset: str
    base_model: str | None
    config: RunConfig | None
    has_texts: bool = True
    updated_from: dict[str, Any] | None = None

    @property
    def settings(self) -> RunConfig:
        """The settings; `ValueError` if the card has none."""
        if self.config is None:
            raise ValueError("the card of a run needs a configuration")
        return self.config

    @property
    def public_base(self) -> str | None:
        """The base model without the directories of a local path, which are private; a hub id stays as it is."""
        base = self.base_model
        return Path(base).name if base is not None and Path(base).is_absolute() else base


def check_outside_parts(path: Path) -> None:
    """Raise `RunError` if a path lies in a trained part of a run: a new file there makes the run unreadable."""
    places = Path(os.path.abspath(path)), path.resolve()
    for folder in (folder for place in places for folder in (place, *place.parents)):
        if folder.name in ("catalog", "preference", "explainer") and (folder.parent / "run.yaml").is_file():
            raise RunError(f"{path} lies in the run {folder.parent}; write elsewhere")


@dataclass(frozen=True)
class RunDirectory:
    """The paths inside one run directory."""

    path: Path

    @property
    def card(self) -> Path:
        """run.yaml: how the run was made."""
        return self.path / "run.yaml"

    @property
    def catalog(self) -> Path:
        """Users, items, rating scale, features and training history."""
        return self.path / "catalog"

    @property
    def preference(self) -> Path:
        """The model of stage 1."""
        return self.path / "preference"

    @property
    def explainer(self) -> Path:
        """The model of stage 2 with its tokenizer."""
        return self.path / "explainer"

    @property
    def checkpoints(self) -> Path:
        """State of an unfinished training; deleted when the stage is finished."""
        return self.path / "checkpoints"

    @property
    def preference_checkpoint(self) -> Path:
        """State of an unfinished stage 1."""
        return self.checkpoints / "preference.safetensors"

    @property
    def explainer_checkpoints(self) -> Path:
        """States of an unfinished stage 2, one directory each."""
        return self.checkpoints / "explainer"

    @property
    def interactions(self) -> Path:
        """Columns of ids and levels that stage 1 reads memory-mapped while it trains."""
        return self.checkpoints / "interactions"

    @property
    def evaluations(self) -> Path:
        """Metrics and predictions of each data, split and condition."""
        return self.path / "evaluations"

    @property
    def tensorboard(self) -> Path:
        """Losses of stage 2 for TensorBoard, with the setting explainer.tensorboard."""
        return self.path / "tensorboard"

    @property
    def training(self) -> Path:
        """Training records of both stages."""
        return self.path / "training.json"

    @property
    def report(self) -> Path:
        """The report as one HTML page."""
        return self.path / "report.html"

    @property
    def latent_map(self) -> Path:
        """The report's picture of the latent space."""
        return self.path / "latent_map.png"

    @property
    def model_card(self) -> Path:
        """The model card."""
        return self.path / "README.md"

    def digest(self) -> str:
        """Return a SHA-256, in hex, of every file that a text depends on; a copy of the run has the same digest."""
        total = hashlib.sha256()
        for folder in (self.catalog, self.preference, self.explainer):
            for file in sorted(path for path in folder.rglob("*") if path.is_file()):
                total.update(f"{file.relative_to(self.path).as_posix()}\0{sha256_of_file(file)}\n".encode())
        return total.hexdigest()

    def discard_checkpoints(self) -> None:
        """Delete the state of an unfinished training: the stage is saved, or will start anew."""
        remove_directory(self.checkpoints)

    def seal(self) -> None:
        """Write manifest.json, which says what the files of the run are; the last step of every change of them."""
        write_seal(self.path, self._sealed())

    def break_seal(self) -> None:
        """Delete manifest.json; the first step of every change of the run's files."""
        (self.path / MANIFEST).unlink(missing_ok=True)

    def check_seal(self, thorough: bool = False) -> None:
        """Check that all parts of the run are those that it was sealed with; the first step of every reading.

        A run without a seal, and a part that may be absent and is, are reported in the log.

        Args:
            thorough: whether large files are read as a whole.

        Raises:
            RunError: a file is missing, differs, or does not belong to the run; the message names it.
        """
        log = logging.getLogger(__name__)
        if not is_sealed(self.path):
            log.warning(
                "%s has no %s: an earlier version wrote it, or its training is not finished; that its files belong "
                "together is not checked",
                self.path,
                MANIFEST,
            )
            return
        for name in check_seal(self.path, self._sealed(), MAY_LACK, thorough):
            log.warning("%s has no %s: %s", self.path, name, MAY_LACK[name])

    @property
    def absent(self) -> list[str]:
        """The sealed files that the run may be shared without and that are absent, by their relative paths."""
        sealed = sealed_files(self.path) if is_sealed(self.path) else {}
        return [name for name in MAY_LACK if name in sealed and not (self.path / name).is_file()]

    def _sealed(self) -> list[Path]:
        """Return the files that a seal covers: all that answers depend on, and the records of the training.

        The template of prompts is left out: it may be edited.
        """
        parts = [
            Path(folder, name)
            for part in (self.catalog, self.preference, self.explainer)
            for folder, folders, names in os.walk(part)
            for name in names
        ]
        files = [file for file in (self.card, self.training, *parts) if file.is_file() and file.name[0] != "."]
        return [file for file in files if file != self.explainer / PROMPT_TEMPLATE]

    def has(self, parts: tuple[str, ...]) -> bool:
        """Return whether all files exist. Paths are relative to the run; a bar separates alternatives."""
        return all(any((self.path / name).is_file() for name in part.split("|")) for part in parts)

    @property
    def has_stage_1_alone(self) -> bool:
        """Whether stage 1 is finished and no stage 2 was begun: the run predicts ratings and writes no texts."""
        return self.has(PREFERENCE_FILES) and not self.explainer.exists() and not self.checkpoints.exists()

    def require(self, *parts: str) -> None:
        """Check that the run, run.yaml and the given files exist.

        Args:
            parts: relative paths; a bar separates alternatives.

        Raises:
            RunError: there is no run, or a file is missing; the message names the first one.
        """
        if not self.path.is_dir():
            raise RunError(f"there is no run at {self.path}; make one with `gavamoe train DATA --out {self.path}`")
        if self.has(DATASET_FILES) and not self.has(("run.yaml",)):
            raise RunError(
                f"{self.path} is a prepared dataset, not a run; train one with `gavamoe train {self.path} --out RUN`"
            )
        for part in ("run.yaml", *parts):
            if not self.has((part,)):
                raise RunError(self._describe_missing(part))

    def _describe_missing(self, part: str) -> str:
        """Return which file is missing, and the command that adds it."""
        missing = f"{part.replace('|', ' or ')} is missing"
        if part not in EXPLAINER_FILES or not self.has_stage_1_alone:
            return (
                f"the run {self.path} is not complete: {missing}; finish it with "
                f"`gavamoe train DATA --out {self.path} --resume`, or copy the whole directory again"
            )
        card = self.read_card()
        if card.has_texts:
            remedy = f"add stage 2 with `gavamoe train {card.data} --out {self.path} --stage explainer`"
        else:
            remedy = "its reviews have no texts: to get explanations, train a new run on reviews with texts"
        return (
            f"{self.path} has stage 1 alone, which predicts ratings and writes no texts ({missing}); {remedy}; "
            "for ratings, use `gavamoe recommend` or `gavamoe evaluate`"
        )

    def read_training(self) -> dict[str, list[dict[str, Any]]]:
        """Return the training records by stage (`preference`, `explainer`); empty before the first stage."""
        if not self.training.is_file():
            return {}
        with reading(self.training):
            records: dict[str, list[dict[str, Any]]] = json.loads(self.training.read_text(encoding="utf-8"))
            if not all(isinstance(record, dict) for stage in records.values() for record in stage):
                raise TypeError
            return records

    def write_card(self, card: RunCard) -> None:
        """Write run.yaml."""
        tree = {
            "version": VERSION,
            "data": card.data,
            "preset": card.preset,
            "base_model": card.base_model,
            **({} if card.has_texts else {"texts": False}),
            **({} if card.updated_from is None else {"updated_from": card.updated_from}),
            "config": card.settings.model_dump(),
        }
        with staged_file(self.card) as staged:
            text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, explicit_end=True)
            staged.write_text(text, encoding="utf-8")

    def read_card(self) -> RunCard:
        """Read run.yaml; settings with an old name are accepted.

        Raises:
            RunError: there is no run, or run.yaml is damaged.
            ConfigError: run.yaml holds a setting that is unknown or out of range.
        """
        self.require()
        try:
            text = self.card.read_text(encoding="utf-8")
            tree: dict[str, Any] = yaml.safe_load(text)
            if tree["version"] > 1 and not text.endswith(END):
                raise TypeError
            # Runs of versions without templates have prompts of special tokens, around a base model too.
            tree["config"]["explainer"].setdefault("prompt_template", SPECIAL)
            # Runs of versions without rate factors train gates and vectors at the rate of all other weights.
            for factor in ("gate_rate_factor", "vector_rate_factor"):
                tree["config"]["explainer"].setdefault(factor, 1.0)
            config = parse_config(tree["config"])
            if not isinstance(tree.get("updated_from"), dict | None):
                raise TypeError
            made = tree["data"], tree["preset"], tree["base_model"], config
            return RunCard(*made, tree.get("texts", True), tree.get("updated_from"))
        except ConfigError as error:
            raise ConfigError(f"{self.card}: {error}") from None
        except (yaml.YAMLError, LookupError, TypeError, AttributeError, UnicodeDecodeError):
            raise RunError(
                f"{self.card} cannot be read as the card of a run; copy it again from where it was made"
            ) from None
