"""How many clusters K and experts N the texts of a data set need, and how well a rule of the data's size finds them.

    python benchmarks/quality/sizes.py --dir DIR [--worlds 40] [--data reviews.jsonl.gz ...]

Each simulated world has another size, density, number of taste groups and strength of style. Stage 2 is trained once
per setting with the preset tiny, until the validation loss no longer falls: the default K = 5, N = 4, then other
numbers of clusters, then other numbers of experts. The total width of the experts and the half of it that a token uses
stay the same. The default is trained with a second seed too, which shows the noise. The figure is the validation loss
of the texts in nats per token.

The rule has one threshold per setting: N (and K) below and above a number of reviews. It is fitted on three of four
worlds. Its regret, the loss above that of the best setting, is reported on the fourth and on the files of `--data`,
beside the regret of the default. Results are kept in DIR/results.jsonl, and a second call goes on where the first
stopped.
"""

from __future__ import annotations

import argparse
import json
import shutil
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from scipy.stats import ttest_rel, wilcoxon

from gavamoe.config import load_config
from gavamoe.data.dataset import ReviewDataset
from gavamoe.data.prepare import PrepareOptions, prepare
from gavamoe.data.simulate import World, simulate
from gavamoe.data.tables import write_table
from gavamoe.markdown import markdown_table
from gavamoe.pipeline.train import train_run

DEFAULT = (5, 4)  # K, N
SETTINGS = (DEFAULT, (1, 4), (10, 4), (5, 2), (5, 8))
EPOCHS = 40  # at most; with the few reviews of a world, the six epochs of the preset end far from the best loss
EXPERT_WIDTH = 96 * 4  # of all experts of the preset tiny together
THRESHOLDS = (400, 600, 900, 1400, 2000, 4000)
HELD_OUT = 4  # every fourth world is not fitted to
Figures = dict[str, Any]


def draw_world(number: int) -> World:
    """Return a world whose size, density, taste and style are drawn by its number."""
    random = np.random.default_rng(number)
    users, items = int(random.choice([40, 80, 160])), int(random.choice([20, 40, 80]))
    reviews = int(np.exp(random.uniform(np.log(300), np.log(1500))))
    return World(
        users=users,
        items=items,
        reviews=min(reviews, users * items // 2),
        clusters=int(random.choice([1, 2, 4, 8])),
        style=float(random.choice([0, 0.5, 1])),
        seed=number,
    )


def train(data: Path, out: Path, clusters: int, experts: int, seed: int, stage: Any, most: int | None) -> Figures:
    """Train one stage of a run and return its figures."""
    given = [
        f"preference.clusters={clusters}",
        f"explainer.experts={experts}",
        f"explainer.expert_width={EXPERT_WIDTH // experts}",
        f"explainer.top_k={experts // 2}",
        f"explainer.epochs={EPOCHS}",
        f"seed={seed}",
        *([f"explainer.max_reviews={most}"] if most else []),
    ]
    return train_run(data, out, load_config("tiny", None, given), "tiny", None, stage)


def losses(directory: Path, data: Path, most: int | None) -> dict[str, float]:
    """Return the loss of each setting, and of the default with another seed."""
    found: dict[str, float] = {}
    for number, (clusters, experts) in enumerate((*SETTINGS, DEFAULT)):
        seed = int(number == len(SETTINGS))
        stage_1, run = directory / f"stage-1-{clusters}-{seed}", directory / "run"
        if not (stage_1 / "manifest.json").exists():
            shutil.rmtree(stage_1, ignore_errors=True)
            train(data, stage_1, clusters, experts, seed, "preference", most)
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(stage_1, run)
        figures = train(data, run, clusters, experts, seed, "explainer", most)
        found["again" if seed else f"{clusters},{experts}"] = figures["explainer"]["valid_loss"]
    return found


def measure(directory: Path, sources: list[str], about: Figures, most: int | None = None) -> Figures:
    """Prepare a data set, train all settings on it, and return the losses with the size of the data."""
    data = directory / "data"
    if not data.exists():
        prepare(sources, data, PrepareOptions())
    train_reviews = ReviewDataset.load(data).interactions("train")
    size = {
        "reviews": min(len(train_reviews), most or len(train_reviews)),
        "users": train_reviews["user_id"].n_unique(),
        "items": train_reviews["item_id"].n_unique(),
    }
    return about | size | {"losses": losses(directory, data, most)}


def measure_world(directory: Path, number: int) -> Figures:
    """Simulate a world and measure it."""
    world, source = draw_world(number), directory / "reviews.csv"
    directory.mkdir(parents=True, exist_ok=True)
    if not source.exists():
        write_table(simulate(world), source)
    return measure(
        directory, [str(source)], {"name": f"world {number}", "groups": world.clusters, "style": world.style}
    )


def default_loss(result: Figures) -> float:
    """Return the mean loss of the default over its two seeds: every row is compared with it."""
    return mean([result["losses"]["5,4"], result["losses"]["again"]])


def regret(result: Figures, clusters: int, experts: int) -> float:
    """Return the loss of a setting above that of the best one, as if K and N acted independently of each other."""
    default = default_loss(result)
    of = result["losses"] | {"5,4": default}
    best_clusters = min(of[f"{k},4"] for k, n in SETTINGS if n == DEFAULT[1])
    best_experts = min(of[f"5,{n}"] for k, n in SETTINGS if k == DEFAULT[0])
    best = best_clusters + best_experts - default
    return float(of[f"{clusters},4"] + of[f"5,{experts}"] - default - best)


def rules(values: list[int]) -> list[tuple[int, int, int]]:
    """Return every (threshold, value below, value from there on); a constant rule has equal values."""
    return list(product(THRESHOLDS, values, values))


def apply(rule: tuple[int, int, int], reviews: int) -> int:
    """Return what a rule chooses."""
    threshold, below, above = rule
    return below if reviews < threshold else above


def fit(results: list[Figures]) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return the rules of K and of N with the smallest mean regret."""
    clusters, experts = (sorted({each[place] for each in SETTINGS}) for place in (0, 1))
    best_k = min(rules(clusters), key=lambda r: mean(regret(e, apply(r, e["reviews"]), 4) for e in results))
    best_n = min(rules(experts), key=lambda r: mean(regret(e, 5, apply(r, e["reviews"])) for e in results))
    return best_k, best_n


def report(results: list[Figures]) -> str:
    """Return the tables: each setting against the default, the noise, the rule and its regret."""
    worlds = [each for each in results if each["name"].startswith("world")]
    fitted = [each for number, each in enumerate(worlds) if number % HELD_OUT]
    unseen = {"worlds not fitted to": worlds[::HELD_OUT]} | {
        each["name"]: [each] for each in results if each not in worlds
    }
    noise = [each["losses"]["again"] - each["losses"]["5,4"] for each in worlds]
    rows = []
    for clusters, experts in SETTINGS[1:]:
        gains = [each["losses"][f"{clusters},{experts}"] - default_loss(each) for each in worlds]
        p = f"{wilcoxon(gains).pvalue:.3f}"
        better = f"{sum(gain < 0 for gain in gains)} of {len(gains)}"
        rows.append([str(clusters), str(experts), f"{mean(gains):+.4f} ± {stdev(gains):.4f}", p, better])
    rule_k, rule_n = fit(fitted)
    lines = [
        markdown_table(["K", "N", "loss - loss of the default", "p (Wilcoxon)", "worlds where it is lower"], rows),
        f"\nanother seed of the default: {mean(noise):+.4f} ± {stdev(noise):.4f}",
        f"rule (reviews below, value below, value from there): K {rule_k}, N {rule_n}\n",
    ]
    rows = []
    for name, group in unseen.items():
        chosen = [regret(e, apply(rule_k, e["reviews"]), apply(rule_n, e["reviews"])) for e in group]
        fixed = [regret(each, *DEFAULT) for each in group]
        p = f"{ttest_rel(chosen, fixed).pvalue:.3f}" if len(group) > 2 else ""
        rows.append([name, str(len(group)), f"{mean(fixed):.4f}", f"{mean(chosen):.4f}", p])
    return "\n".join([*lines, markdown_table(["data", "n", "regret of the default", "regret of the rule", "p"], rows)])


def main() -> None:
    """Train what is missing and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--worlds", type=int, default=40)
    parser.add_argument("--first", type=int, default=0, help="number of the first world; processes can share the work")
    parser.add_argument("--data", nargs="*", default=[], help="files of reviews that the rule is not fitted to")
    parser.add_argument("--max-reviews", type=int, default=2000, help="training reviews of each file at most")
    options = parser.parse_args()
    options.dir.mkdir(parents=True, exist_ok=True)
    kept = options.dir / "results.jsonl"
    results = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()] if kept.exists() else []
    done = {result["name"] for result in results}

    def keep(result: Figures) -> None:
        results.append(result)
        with kept.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")
        print(json.dumps(result), flush=True)

    for number in range(options.first, options.worlds):
        if f"world {number}" not in done:
            keep(measure_world(options.dir / f"world-{number}", number))
    for source in map(Path, options.data):
        name = source.parent.name
        if name not in done:
            directory = options.dir / name
            directory.mkdir(parents=True, exist_ok=True)
            keep(measure(directory, [str(source)], {"name": name}, options.max_reviews))
    print(report(results))


if __name__ == "__main__":
    main()
