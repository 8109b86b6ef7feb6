"""When a gate per cluster pays: simulated worlds whose groups write more and more differently.

    python benchmarks/quality/gates.py --dir DIR [--styles 0 0.5 1] [--seeds 3] [--base-model LM]

Each world has four groups of users; `--styles` says how strongly the groups differ in how they write. Stage 1 is
trained once per world and seed (with `preference.reconstructs=ratings+words`), and stage 2 once per gate:

one      one gate for all clusters
paper    a gate per cluster
shared   a gate per cluster, with a common part that all clusters train (`explainer.gate=shared`)
random   a gate per cluster, with clusters that are drawn at random

Each is trained with soft tokens and without. Without them, only the gate knows the pair. The figure is the validation
loss of the texts in nats per token, and the information is what the clusters of stage 1 say about the words
(`gavamoe.preference.word_gain`). Results are kept in DIR/results.jsonl, and a second call goes on where the first
stopped.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from scipy.stats import ttest_rel

from gavamoe.config import load_config
from gavamoe.data.dataset import ReviewDataset
from gavamoe.data.prepare import PrepareOptions, prepare
from gavamoe.data.simulate import World, simulate
from gavamoe.data.tables import write_table
from gavamoe.diagnostics.clusters import assign_clusters
from gavamoe.markdown import markdown_table
from gavamoe.pipeline.train import train_run
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.word_gain import WordCounts, text_gain

WORLD = World(users=200, items=60, reviews=2500, clusters=4)
GATES: dict[str, dict[str, Any]] = {
    "one": {"explainer.gate_clusters": "one"},
    "paper": {},
    "shared": {"explainer.gate": "shared"},
    "random": {"explainer.gate_clusters": "random"},
}
SOFT_TOKENS: dict[str, dict[str, Any]] = {
    "with soft tokens": {},
    "without": {"explainer.use_preference_vectors": False, "explainer.soft_token_width": 0},
}
STAGE_1 = {"preference.reconstructs": "ratings+words", "preference.clusters": 4}


def train(data: Path, out: Path, seed: int, stage: Any, base_model: str | None, settings: dict[str, Any]) -> Any:
    """Train one stage of a run with the preset tiny, and return the figures of its stages."""
    given = [f"{key}={json.dumps(value)}" for key, value in {**STAGE_1, **settings, "seed": seed}.items()]
    return train_run(data, out, load_config("tiny", None, given), "tiny", base_model, stage)


def information(data: Path, run: Path) -> float:
    """Return what the clusters of stage 1 say about the words of validation reviews, in nats per word."""
    dataset, model = ReviewDataset.load(data), PreferenceModel.from_pretrained(run / "preference").eval()
    train, valid = (dataset.interactions(split) for split in ("train", "valid"))
    counts = WordCounts.of(train["text"].to_list(), valid["text"].to_list())
    assert counts is not None
    return text_gain(counts, assign_clusters(model, train), assign_clusters(model, valid)).nats


def run_world(directory: Path, style: float, seed: int, base_model: str | None) -> dict[str, Any]:
    """Train every gate in one world; return the losses by soft tokens and gate, and the information of the clusters."""
    data, stage_1 = directory / "data", directory / "stage-1"
    source = directory / "reviews.csv"
    if not data.exists():
        directory.mkdir(parents=True, exist_ok=True)
        write_table(simulate(replace(WORLD, style=style, seed=seed)), source)
        prepare([str(source)], data, PrepareOptions())
    if not (stage_1 / "manifest.json").exists():
        shutil.rmtree(stage_1, ignore_errors=True)
        train(data, stage_1, seed, "preference", base_model, {})
    losses: dict[str, dict[str, float]] = {}
    for (soft, without), (gate, settings) in product(SOFT_TOKENS.items(), GATES.items()):
        run = directory / "run"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(stage_1, run)
        figures = train(data, run, seed, "explainer", base_model, without | settings)
        losses.setdefault(soft, {})[gate] = figures["explainer"]["valid_loss"]
        print(f"style {style}, seed {seed}, {soft}, {gate}: {losses[soft][gate]:.4f}", flush=True)
    return {"style": style, "seed": seed, "information": information(data, stage_1), "losses": losses}


def table(results: list[dict[str, Any]]) -> str:
    """Return a row per style: the information, then each gate's loss less that of one gate, mean and spread."""
    rows = []
    for style, soft in product(sorted({result["style"] for result in results}), SOFT_TOKENS):
        of_style = [result for result in results if result["style"] == style]
        told = mean(result["information"] for result in of_style)
        one = [result["losses"][soft]["one"] for result in of_style]
        row = [f"{style:g}", f"{told:.4f}", soft, f"{mean(one):.4f}"]
        for gate in list(GATES)[1:]:
            losses = [result["losses"][soft][gate] for result in of_style]
            gains = [loss - base for loss, base in zip(losses, one, strict=True)]
            spread = f" ± {stdev(gains):.4f}, p {ttest_rel(losses, one).pvalue:.2f}" if len(gains) > 1 else ""
            row.append(f"{mean(gains):+.4f}{spread}")
        rows.append(row)
    heads = ["style", "information", "soft tokens", "loss, one gate", *(f"{gate} - one" for gate in list(GATES)[1:])]
    return markdown_table(heads, rows)


def main() -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--styles", type=float, nargs="+", default=[0.0, 0.5, 1.0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--base-model")
    options = parser.parse_args()
    options.dir.mkdir(parents=True, exist_ok=True)
    kept = options.dir / "results.jsonl"
    results = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()] if kept.exists() else []
    done = {(result["style"], result["seed"]) for result in results}
    for seed, style in product(range(options.seeds), options.styles):
        if (style, seed) not in done:
            results.append(run_world(options.dir / f"style-{style:g}-{seed}", style, seed, options.base_model))
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps(results[-1]) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
