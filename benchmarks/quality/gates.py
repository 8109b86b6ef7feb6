"""When a gate per cluster pays: simulated worlds whose groups write more and more differently, and real reviews.

    python benchmarks/quality/gates.py --dir DIR [--styles 0 0.5 1] [--data PREPARED ...] [--seeds 3] [--base-model LM]
        [--gates one paper shared random] [--figure gates.svg]

Each world has four groups of users; `--styles` says how strongly the groups differ in how they write. `--data` names
prepared datasets; stage 2 then trains on a fixed number of their reviews. Stage 1 is trained once per dataset and seed
(with `preference.reconstructs=ratings+words`), and stage 2 once per gate:

one      one gate for all clusters
paper    a gate per cluster
shared   a gate per cluster, with a common part that all clusters train (`explainer.gate=shared`)
random   a gate per cluster, with clusters that are drawn at random
balance, first   designs that the package does not have (`gate_designs.py`)

Each is trained with soft tokens and without. Without them, only the gate knows the pair. The figure is the validation
loss of the texts in nats per token, and the information is what the clusters of stage 1 say about the words
(`gavamoe.preference.word_gain`). Results are kept in DIR/losses.jsonl, and a second call goes on where the first
stopped.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import polars as pl
from gate_designs import balance_per_cluster, experts_first
from matplotlib.figure import Figure
from scipy.stats import ttest_1samp

from gavamoe.config import load_config
from gavamoe.data.dataset import ReviewDataset
from gavamoe.data.prepare import PrepareOptions, prepare
from gavamoe.data.simulate import World, simulate
from gavamoe.data.tables import write_table
from gavamoe.markdown import markdown_table
from gavamoe.pipeline.train import train_run
from gavamoe.preference.model import PreferenceModel, assign_clusters
from gavamoe.preference.word_gain import WordCounts, text_gain

Result = dict[str, Any]
WORLD = World(users=200, items=60, reviews=2500, clusters=4)


@dataclass(frozen=True)
class Gate:
    """A design of the gates: settings, and what is replaced while stage 2 trains."""

    settings: dict[str, Any]
    replaced: Callable[[], AbstractContextManager[None]] = nullcontext


GATES = {
    "one": Gate({"explainer.gate_clusters": "one"}),
    "paper": Gate({}),
    "shared": Gate({"explainer.gate": "shared"}),
    "random": Gate({"explainer.gate_clusters": "random"}),
    "balance": Gate({}, balance_per_cluster),
    "first": Gate({}, experts_first),
}
DEFAULT_GATES = ["one", "paper", "shared", "random"]
SOFT_TOKENS: dict[str, dict[str, Any]] = {
    "with soft tokens": {},
    "without": {"explainer.use_preference_vectors": False, "explainer.soft_token_width": 0},
}
READS = {"preference.reconstructs": "ratings+words"}


@dataclass(frozen=True)
class Source:
    """Where reviews come from, and how they are trained on.

    Attributes:
        name: in the table.
        preset: of both stages.
        settings: beside the preset.
        style: of the simulated world; None for a prepared dataset.
        prepared: directory of the prepared dataset; None for a simulated world.
    """

    name: str
    preset: str
    settings: dict[str, Any]
    style: float | None = None
    prepared: Path | None = None

    @classmethod
    def world(cls, style: float) -> Source:
        """Return a simulated world whose groups differ in how they write by `style`."""
        return cls(f"style {style:g}", "tiny", {"preference.clusters": WORLD.clusters}, style=style)

    @classmethod
    def dataset(cls, directory: Path) -> Source:
        """Return a prepared dataset; stage 2 trains on a few thousand of its reviews, for two processor cores."""
        budget = {"explainer.hidden": 128, "explainer.expert_width": 128, "explainer.learning_rate": 4e-3}
        size = {"explainer.max_reviews": 4000, "explainer.epochs": 3}
        return cls(directory.name, "small", budget | size, prepared=directory)

    def data(self, directory: Path, seed: int) -> Path:
        """Return the prepared dataset; a world is simulated in `directory`, with a seed of its own."""
        if self.prepared is not None:
            return self.prepared
        data, reviews = directory / "data", directory / "reviews.csv"
        if not data.exists():
            write_table(simulate(replace(WORLD, style=self.style or 0.0, seed=seed)), reviews)
            prepare([str(reviews)], data, PrepareOptions())
        return data

    def train(self, data: Path, out: Path, seed: int, stage: Any, base: str | None, more: dict[str, Any]) -> Any:
        """Train one stage of a run, and return the figures of its stages."""
        settings = READS | self.settings | more | {"seed": seed}
        given = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
        return train_run(data, out, load_config(self.preset, None, given), self.preset, base, stage)


def information(data: Path, run: Path) -> float:
    """Return what the clusters of stage 1 say about the words of validation reviews, in nats per word."""
    dataset, model = ReviewDataset.load(data), PreferenceModel.from_pretrained(run / "preference").eval()
    train, valid = (dataset.interactions(split).filter(pl.col("text") != "") for split in ("train", "valid"))
    counts = WordCounts.of(train["text"].to_list(), valid["text"].to_list())
    assert counts is not None
    return text_gain(counts, assign_clusters(model, train), assign_clusters(model, valid)).nats


def train_gates(
    source: Source, directory: Path, seed: int, base_model: str | None, missing: list[tuple[str, str]]
) -> Iterator[Result]:
    """Yield the loss of stage 2 with each missing pair of soft tokens and gate; stage 1 is trained once."""
    directory.mkdir(parents=True, exist_ok=True)
    data, stage_1 = source.data(directory, seed), directory / "stage-1"
    if not (stage_1 / "manifest.json").exists():
        shutil.rmtree(stage_1, ignore_errors=True)
        source.train(data, stage_1, seed, "preference", base_model, {})
    told = information(data, stage_1)
    for soft, gate in missing:
        run = directory / "run"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(stage_1, run)
        settings = SOFT_TOKENS[soft] | GATES[gate].settings
        with GATES[gate].replaced():
            loss = source.train(data, run, seed, "explainer", base_model, settings)["explainer"]["valid_loss"]
        print(f"{source.name}, seed {seed}, {soft}, {gate}: {loss:.4f}", flush=True)
        yield {"source": source.name, "seed": seed, "information": told, "soft": soft, "gate": gate, "loss": loss}


def table(results: list[Result], gates: list[str]) -> str:
    """Return a row per source: the information, then each gate's loss less that of one gate, mean and spread."""
    rows = []
    losses = {(each["source"], each["soft"], each["gate"], each["seed"]): each["loss"] for each in results}
    for name, soft in product(sorted({each["source"] for each in results}), SOFT_TOKENS):
        told = mean(each["information"] for each in results if each["source"] == name)
        one = {seed: loss for (*key, seed), loss in losses.items() if key == [name, soft, "one"]}
        row = [name, f"{told:.4f}", soft, f"{mean(one.values()):.4f}"]
        for gate in gates:
            pairs = [(losses[name, soft, gate, seed], one[seed]) for seed in one if (name, soft, gate, seed) in losses]
            gains = [loss - base for loss, base in pairs]
            spread = f" ± {stdev(gains):.4f}, p {ttest_1samp(gains, 0).pvalue:.2f}" if len(gains) > 1 else ""
            row.append(f"{mean(gains):+.4f}{spread}" if gains else "")
        rows.append(row)
    heads = ["reviews", "information", "soft tokens", "loss, one gate", *(f"{gate} - one" for gate in gates)]
    return markdown_table(heads, rows)


def draw(results: list[Result], path: Path) -> None:
    """Draw the loss of a gate per cluster less that of one gate over the style of simulated worlds: mean and worlds."""
    losses = {(each["source"], each["soft"], each["gate"], each["seed"]): each["loss"] for each in results}
    names = sorted({each["source"] for each in results if each["source"].startswith("style ")}, key=_style)
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for soft, colour, mark in zip(SOFT_TOKENS, ("#2563a8", "#c2571a"), "os", strict=True):
        gains = [
            [
                losses[name, soft, "paper", seed] - loss
                for (*key, seed), loss in losses.items()
                if key == [name, soft, "one"]
            ]
            for name in names
        ]
        styles = [_style(name) for name in names]
        axes.plot(
            styles, [mean(each) for each in gains], mark + "-", color=colour, label=f"{soft.split()[0]} soft tokens"
        )
        for style, each in zip(styles, gains, strict=True):
            axes.plot([style] * len(each), each, mark, color=colour, alpha=0.3, markersize=4)
    axes.axhline(0, color="0.5", linewidth=0.8)
    axes.set_xlabel("style: how differently the groups write")
    axes.set_ylabel("nats per token")
    axes.set_title("Loss of a gate per cluster less that of one gate", loc="left")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def _style(name: str) -> float:
    return float(name.removeprefix("style "))


def main() -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--styles", type=float, nargs="*", default=[0.0, 0.5, 1.0])
    parser.add_argument("--data", type=Path, nargs="*", default=[])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--base-model")
    parser.add_argument("--gates", nargs="+", choices=GATES, default=DEFAULT_GATES)
    parser.add_argument("--figure", type=Path, help="draw the results of simulated worlds here")
    options = parser.parse_args()
    options.dir.mkdir(parents=True, exist_ok=True)
    kept = options.dir / "losses.jsonl"
    results = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()] if kept.exists() else []
    done = {(each["source"], each["seed"], each["soft"], each["gate"]) for each in results}
    sources = [*map(Source.world, options.styles), *map(Source.dataset, options.data)]
    for seed, source in product(range(options.seeds), sources):
        missing = [key for key in product(SOFT_TOKENS, options.gates) if (source.name, seed, *key) not in done]
        if not missing:
            continue
        directory = options.dir / f"{source.name.replace(' ', '-')}-{seed}"
        for result in train_gates(source, directory, seed, options.base_model, missing):
            results.append(result)
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps(result) + "\n")
    print(table(results, [gate for gate in options.gates if gate != "one"]))
    if options.figure:
        draw(results, options.figure)


if __name__ == "__main__":
    main()
