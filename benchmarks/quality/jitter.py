"""How many pairs get another gate if some of the ratings change: from 1 to 30 %, dropped or replaced by another level.

    python benchmarks/quality/jitter.py RUN --out FILE.jsonl [--seeds 3]

Stage 1 of RUN is trained again on the changed ratings, with the run's seed, and on the unchanged ratings with other
seeds. The clusters of each training are matched with those of the run (Hungarian algorithm). The figure is the share
of the training pairs whose gate changes. Results are kept in FILE.jsonl, and a second call goes on where the first
stopped.
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path
from statistics import mean

from gavamoe.diagnostics.routing import JITTERS, changed_share, jitter
from gavamoe.markdown import markdown_table
from gavamoe.pipeline.diagnosed_run import ANOTHER_SEED, DiagnosedRun
from gavamoe.preference.model import assign_clusters

SHARES = (0.01, 0.03, 0.1, 0.3)


def changed_gates(run: DiagnosedRun, what: str, share: float, seed: int) -> float:
    """Return the share of pairs that get another gate when stage 1 is trained again."""
    reviews, own = run.arrays("train"), run.seed
    if what == ANOTHER_SEED:
        model = run.train_again(reviews, own + seed)
    else:
        model = run.train_again(jitter(reviews, what, run.model.levels, own + seed, share), own)
    return changed_share(run.cluster_N, assign_clusters(model, run.train))


def main() -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    run, kept = DiagnosedRun.open(options.run), options.out
    results = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()] if kept.exists() else []
    done = {(each["what"], each["share"], each["seed"]) for each in results}
    changes = [(ANOTHER_SEED, 0.0), *((kind, share) for share, kind in product(SHARES, JITTERS))]
    for seed, (what, share) in product(range(1, options.seeds + 1), changes):
        if (what, share, seed) in done:
            continue
        changed = changed_gates(run, what, share, seed)
        results.append({"what": what, "share": share, "seed": seed, "changed": changed})
        print(f"{what}, {share:.0%}, seed {seed}: {changed:.1%}", flush=True)
        with kept.open("a", encoding="utf-8") as file:
            file.write(json.dumps(results[-1]) + "\n")
    rows = []
    for what, share in changes:
        found = sorted(each["changed"] for each in results if (each["what"], each["share"]) == (what, share))
        name = what if what == ANOTHER_SEED else f"{share:.0%} {what}ped"
        rows.append([name, f"{mean(found):.1%}", ", ".join(f"{value:.1%}" for value in found)])
    print(markdown_table(["ratings", "pairs with another gate", "each training"], rows))


if __name__ == "__main__":
    main()
