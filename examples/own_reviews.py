"""Train on a file of your reviews and explain pairs: `python examples/own_reviews.py reviews.csv DIR`.

The file needs columns for user, item, rating and text. Their usual names are recognised; other names are given to
`gavamoe prepare` (`--user-col` and so on). The run is left in DIR/run, its report in DIR/run/report.html.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from gavamoe import Explainer, ReviewDataset


def gavamoe(*arguments: object) -> None:
    """Run a command as on the command line, and stop when it fails."""
    subprocess.run([sys.executable, "-m", "gavamoe", *map(str, arguments)], check=True)


def main() -> None:
    """Prepare, train, evaluate, and print explanations of a few test pairs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reviews", type=Path)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="settings of the training")
    options = parser.parse_args()
    data, run = options.directory / "data", options.directory / "run"

    gavamoe("prepare", options.reviews, "--out", data)
    settings = [word for setting in options.set for word in ("--set", setting)]
    gavamoe("train", data, "--out", run, "--preset", options.preset, *settings)
    gavamoe("evaluate", run, "--limit", 200)

    explainer = Explainer.from_pretrained(run)
    test = ReviewDataset.load(data).interactions("test").head(5)
    for explanation in explainer.explain_batch(test.select("user", "item")):
        print(f"{explanation.user} on {explanation.item} ({explanation.rating:.1f}): {explanation.text}")
    unknown = explainer.explain(user="a new user", item=test["item"][0])
    print(f"a new user on {unknown.item} ({unknown.rating:.1f}, unknown: {unknown.cold_user}): {unknown.text}")


if __name__ == "__main__":
    main()
