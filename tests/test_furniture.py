"""The files beside the package are well-formed, and what they name exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import gavamoe

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
# A path in backticks: letters, digits and . _ - /, with a slash or a file ending.
NAMED_PATH = re.compile(r"`([\w.-]+/[\w./-]*|[\w-]+\.(?:md|cff|py|toml|yaml|yml))`")
MAKE = re.compile(r"\bmake ((?:[a-z]+ ?)+)")


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def make_targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


def test_citation_has_the_required_keys_and_names_the_paper():
    citation = read_yaml(ROOT / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "license", "repository-code"} <= citation.keys()
    paper = citation["preferred-citation"]
    assert {"type", "title", "authors", "year"} <= paper.keys()
    assert all({"family-names", "given-names"} == author.keys() for author in paper["authors"])
    assert paper["url"] == "https://arxiv.org/abs/2410.11841"


def test_citation_has_the_version_of_the_package():
    assert read_yaml(ROOT / "CITATION.cff")["version"] == gavamoe.__version__


def test_changelog_has_an_entry_for_the_version_of_the_package():
    assert f"## {gavamoe.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_call_make_targets_that_exist(path: Path):
    jobs = read_yaml(path)["jobs"].values()
    commands = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    called = {target for command in commands for words in MAKE.findall(command) for target in words.split()}
    assert called
    assert called <= make_targets()


def test_the_workflow_tests_the_oldest_and_a_newer_python():
    matrix = read_yaml(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["test"]["strategy"]["matrix"]
    oldest = re.search(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert oldest is not None
    assert oldest.group(1) in matrix["python"]
    assert len(matrix["python"]) > 1


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_issue_forms_have_what_github_requires(path: Path):
    form = read_yaml(path)
    assert form["name"]
    assert form["description"]
    ids = [field["id"] for field in form["body"]]
    assert len(set(ids)) == len(ids)
    for field in form["body"]:
        assert field["type"] in {"input", "textarea", "dropdown", "checkboxes"}
        assert field["attributes"]["label"]


def test_pre_commit_runs_the_tools_of_the_projects_environment():
    hooks = [hook for repo in read_yaml(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    assert {hook["id"] for hook in hooks} == {"ruff-check", "ruff-format", "mypy"}
    assert all(hook["entry"].startswith(".venv/bin/") for hook in hooks)


def test_every_path_that_contributing_names_exists():
    named = NAMED_PATH.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert "src/gavamoe/errors.py" in named
    assert not [path for path in named if not (ROOT / path).exists()]


def test_contributing_describes_every_layer():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    folders = {path.parent.name for path in (ROOT / "src" / "gavamoe").glob("*/__init__.py")}
    described = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert described == folders - {"config", "presets"}  # root modules that are folders


def test_every_make_target_that_contributing_names_exists():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = {target for words in re.findall(r"(?:`|\$ )make ([a-z]+)", page) for target in words.split()}
    assert {"lint", "test", "docs"} <= named
    assert named <= make_targets()
