"""The whole system on simulated reviews, in about a minute: `python examples/quickstart.py DIR`.

It simulates reviews, prepares them, trains both stages, and explains one pair. Everything is written into DIR.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import torch

from gavamoe import Explainer, PreferenceModel, ReviewDataset


def gavamoe(*arguments: object) -> None:
    """Run a command as on the command line, and stop when it fails."""
    subprocess.run([sys.executable, "-m", "gavamoe", *map(str, arguments)], check=True)


def main() -> None:
    """Train, then use the run in Python."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--reviews", type=int, default=2000)
    parser.add_argument("--set", action="append", default=["explainer.epochs=4"], metavar="KEY=VALUE")
    options = parser.parse_args()
    reviews, data, run = (options.directory / name for name in ("reviews.jsonl.gz", "data", "run"))
    options.directory.mkdir(parents=True, exist_ok=True)

    gavamoe("simulate", "--out", reviews, "--users", 80, "--items", 40, "--reviews", options.reviews, "--clusters", 3)
    gavamoe("prepare", reviews, "--out", data)
    settings = [word for setting in ["preference.clusters=3", *options.set] for word in ("--set", setting)]
    gavamoe("train", data, "--out", run, "--preset", "tiny", *settings)

    explainer = Explainer.from_pretrained(run)
    user, item = ReviewDataset.load(data).interactions("test").select("user", "item").row(0)
    explanation = explainer.explain(user=user, item=item)
    print(f"\n{user} on {item}, predicted rating {explanation.rating:.1f}, cluster {explanation.cluster}:")
    print(f"  {explanation.text}")
    for sentence in explanation.evidence:
        print(f"  evidence: {sentence.user} gave {sentence.rating:g}: {sentence.text}")
    print(explainer.recommend(user, top=3))

    # Stage 1 alone works on ids from 1; id 0 is an unknown user or item.
    preference = PreferenceModel.from_pretrained(run / "preference")
    print("responsibilities:", preference.responsibilities(torch.tensor([1]), torch.tensor([1])))


if __name__ == "__main__":
    main()
