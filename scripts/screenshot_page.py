"""Take the pictures of the service's page that the README and the documentation show.

    python scripts/screenshot_page.py gavamoe-demo/run      # starts `gavamoe serve` on the run and stops it again
    python scripts/screenshot_page.py --url http://127.0.0.1:8000

The pictures show an explanation with the experts of one word, in the light and in the dark theme, at 1280 x 800 with
two pixels a point. Needs Chromium and chromedriver, and selenium from the extra `dev`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from helpers.browser import LAPTOP, Page, chromium  # noqa: E402
from helpers.serving import ask, quoted, served_run  # noqa: E402


def main() -> None:
    """Parse the arguments, start the service where none is given, and save both pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, help="a run directory, such as gavamoe-demo/run")
    parser.add_argument("--url", help="a service that is already running")
    parser.add_argument("--user", help="default: the user with the most reviews")
    parser.add_argument("--item", help="default: the first recommendation for the user")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "img")
    given = parser.parse_args()
    if (given.run is None) == (given.url is None):
        parser.error("give either a run directory or --url")
    service = nullcontext(given.url.rstrip("/")) if given.url else served_run(given.run)
    with service as url, tempfile.TemporaryDirectory() as profile, chromium(Path(profile)) as driver:
        user = given.user or ask(url, "/v1/users?prefix=&limit=1")["users"][0]["user"]
        item = given.item or ask(url, "/v1/recommend", {"user": user, "top": 1, "explain": False})["items"][0]["item"]
        page = Page(driver, url)
        for theme in ("light", "dark"):
            path = given.out / f"page-{theme}.png"
            _take(page, f"#/explain?user={quoted(user)}&item={quoted(item)}", path, dark=theme == "dark")
            print(path)


def _take(page: Page, address: str, path: Path, dark: bool) -> None:
    """Save a picture of an explanation whose longest word is pointed at."""
    page.emulate(LAPTOP, dark=dark, reduced_motion=True, pixels_per_point=2)
    page.open(address)
    page.wait(".word")
    page.wait(".pin")
    page.hover(max(page.all(".word"), key=lambda word: len(word.text)))
    page.wait(".experts.focusing .chosen")
    page.screenshot(path)


if __name__ == "__main__":
    main()
