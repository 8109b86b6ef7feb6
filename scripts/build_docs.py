"""Build the documentation site strictly: `python scripts/build_docs.py`, which is what `make docs` runs.

    docs/, benchmarks/README.md, CHANGELOG.md -> build/docs-site/docs -> zensical -> site/

The pages of docs/ link to files of the repository, as GitHub shows them. In the copy that the site is built from, a
link to a page that the site has goes there, and a link to any other file becomes the name of that file. Any warning
of the builder or of the docstring parser is an error.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
STAGE = ROOT / "build" / "docs-site"
PAGES = {"benchmarks/README.md": "benchmarks.md", "CHANGELOG.md": "changelog.md"}  # pages from outside docs/
LINK = re.compile(r"\[([^\]]*)\]\(([^)#\s]+)((?:#[^)\s]*)?)\)")


def main() -> None:
    """Stage the pages, build the site, and stop with exit code 1 at any warning."""
    shutil.rmtree(STAGE, ignore_errors=True)
    shutil.copytree(ROOT / "docs", STAGE / "docs")
    for source, name in PAGES.items():
        shutil.copy(ROOT / source, STAGE / "docs" / name)
    homes = {name: source for source, name in PAGES.items()}
    for page in (STAGE / "docs").rglob("*.md"):
        name = page.relative_to(STAGE / "docs").as_posix()
        home = ROOT / homes.get(name, f"docs/{name}")
        page.write_text(site_links(page.read_text("utf-8"), home, name), "utf-8")
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    config["plugins"][1]["mkdocstrings"]["handlers"]["python"]["paths"] = [str(ROOT / "src")]
    (STAGE / "mkdocs.yml").write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")
    builder = Path(sys.executable).parent / "zensical"
    command = [str(builder), "build", "--strict", "--clean", "--config-file", str(STAGE / "mkdocs.yml")]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
    print(said)
    if done.returncode or "Warning" in said or "griffe:" in said:
        sys.exit("the site was not built without warnings")
    shutil.rmtree(ROOT / "site", ignore_errors=True)
    shutil.move(STAGE / "site", ROOT / "site")


def site_links(text: str, home: Path, name: str) -> str:
    """Return the page with its links as the site needs them.

    Args:
        text: The Markdown of the page.
        home: Its file in the repository, from which its links start.
        name: Its path in the site.
    """

    def replace(link: re.Match[str]) -> str:
        label, target, anchor = link.groups()
        if "://" in target or target.startswith("mailto:"):
            return link[0]
        path = (home.parent / target).resolve().relative_to(ROOT).as_posix()
        page = PAGES.get(path, path.removeprefix("docs/") if path.startswith("docs/") else None)
        if page is None:
            return label if label.strip("`") == path else f"{label} (`{path}`)"
        return f"[{label}]({os.path.relpath(page, Path(name).parent)}{anchor})"

    return LINK.sub(replace, text)


if __name__ == "__main__":
    main()
