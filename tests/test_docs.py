"""The documentation: its commands, settings, links and generated pages agree with the package."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gavamoe.config import RunConfig, nested, parse_config, parse_setting
from gavamoe.errors import ConfigError

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
HOW_TO = [ROOT / "README.md", ROOT / "docs/quickstart.md", *sorted((ROOT / "docs/how-to").glob("*.md"))]
CONCEPTS = ROOT / "docs/architecture.md"
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"")


def script(name: str) -> ModuleType:
    """Import a file of scripts/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = script("write_reference")
COMMANDS: dict[str, Any] = dict(reference.commands())


def identifier(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def command_lines(page: Path) -> list[str]:
    """Return the gavamoe commands of the code blocks of a page; a line that ends with a backslash is joined."""
    text = page.read_text("utf-8")
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL) + re.findall(r"(?:^    .+\n)+", text, re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    commands = []
    for line in lines:
        for part in line.strip().removeprefix("$ ").split(" && "):
            if match := re.match(r"(?:(?:torchrun|accelerate launch) .*-m )?(gavamoe .*)", part):
                commands.append(match[1])
    return commands


def test_the_pages_with_commands_have_commands() -> None:
    counts = {identifier(page): len(command_lines(page)) for page in HOW_TO}
    assert min(counts.values()) > 0, counts
    assert sum(counts.values()) > 40, counts


@pytest.mark.parametrize("page", PAGES, ids=identifier)
def test_every_command_of_a_page_has_existing_options_and_settings(page: Path) -> None:
    for line in command_lines(page):
        check_command(line)


def check_command(line: str) -> None:
    """Check the command, its options and its settings; raise AssertionError with the line where one does not exist."""
    words = shlex.split(line, comments=True)[1:]
    if words == ["--version"]:
        return
    name = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
    assert name in COMMANDS, f"no such command: {line}"
    words = words[len(name.split()) :]
    options = {opt: param for param in COMMANDS[name].params for opt in param.opts if opt.startswith("-")}
    positions = 0
    while words:
        word = words.pop(0)
        if not word.startswith("-"):
            positions += 1
            continue
        assert word in options or word == "--help", f"{name} has no option {word}: {line}"
        if word == "--help" or getattr(options[word], "is_flag", False):
            continue
        assert words, f"{word} has no value: {line}"
        value = words.pop(0)
        if word == "--set" and value != "key=value":
            assert_known(value, line)
        if choices := reference.literal_choices(options[word].type_descriptor.annotation):
            assert value in choices, f"{value} is no choice of {word}: {line}"
    needed = sum(p.param_type_name == "argument" and p.required for p in COMMANDS[name].params)
    assert positions >= needed, f"an argument is missing: {line}"


def assert_known(setting: str, line: str) -> None:
    try:
        key, value = parse_setting(setting)
        parse_config(nested(key, value))
    except ConfigError as error:
        if "there is no setting" in str(error):
            raise AssertionError(f"{error}: {line}") from None


@pytest.mark.parametrize("page", PAGES, ids=identifier)
def test_every_setting_in_text_exists(page: Path) -> None:
    known = {key for key, _ in reference.settings()} | {
        f"{group}.{old}" for group, names in reference.RENAMED.items() for old in names
    }
    text = page.read_text("utf-8")
    named = set(re.findall(r"`(?:--set )?((?:preference|explainer)\.[a-z_0-9]+)(?:=[^`\s]*)?`", text))
    assert named <= known


@pytest.mark.parametrize("page", [*PAGES, ROOT / "benchmarks/README.md"], ids=identifier)
def test_every_link_to_a_file_of_the_repository_exists(page: Path) -> None:
    targets = [one or other for one, other in LINK.findall(page.read_text("utf-8"))]
    local = [target for target in targets if not re.match(r"[a-z]+:|#", target)]
    missing = [target for target in local if not (page.parent / target.partition("#")[0]).exists()]
    assert missing == []


def test_every_concept_names_an_existing_file_and_what_to_look_for_in_it() -> None:
    rows = re.findall(r"^\| ([^|]+) \| `(src/[^`]+)`[^|]*\|(.*)$", CONCEPTS.read_text("utf-8"), re.MULTILINE)
    assert len(rows) >= 13
    for concept, path, look_for in rows:
        assert (ROOT / path).exists(), (concept, path)
        for name in re.findall(r"`(?:[A-Za-z]+\.)?([A-Za-z_]+)`", look_for):
            source = (ROOT / path).read_text("utf-8")
            assert re.search(rf"\b{name}\b", source), (concept, path, name)


def arguments_and_fields(node: ast.AST) -> set[str]:
    """Return what the Args section of a function or class may describe: arguments, and fields of a class."""
    if isinstance(node, ast.ClassDef):
        own = [target.target.id for target in node.body if isinstance(target, ast.AnnAssign)]
        inits = [arguments_and_fields(item) for item in node.body if getattr(item, "name", "") == "__init__"]
        return {*own, *(name for init in inits for name in init)}
    if not isinstance(node, ast.FunctionDef):
        return set()
    found = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
    return {argument.arg for argument in found if argument is not None}


@pytest.mark.parametrize("path", sorted((ROOT / "src").rglob("*.py")), ids=identifier)
def test_docstrings_describe_arguments_that_exist(path: Path) -> None:
    wrong = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or not (text := ast.get_docstring(node)):
            continue
        section = re.search(r"^Args:\n((?: {4}.*\n?|\n)+)", text, re.MULTILINE)
        described = (
            re.findall(r"^ {4}(\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: \([^)]*\))?:", section[1], re.MULTILINE)
            if section
            else []
        )
        names = [name.lstrip("*") for entry in described for name in entry.split(", ")]
        wrong += [(node.name, name) for name in names if name not in arguments_and_fields(node)]
    assert wrong == []


@pytest.mark.parametrize("name", sorted(reference.PAGES))
def test_a_generated_page_is_up_to_date(name: str) -> None:
    page = (ROOT / "docs/reference" / name).read_text("utf-8")
    assert page == reference.PAGES[name](), "run: python scripts/write_reference.py"


def test_every_setting_is_in_the_settings_reference() -> None:
    page = (ROOT / "docs/reference/settings.md").read_text("utf-8")

    def leaves(tree: dict[str, Any], prefix: str = "") -> list[str]:
        found = []
        for key, value in tree.items():
            found += leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [prefix + key]
        return found

    keys = leaves(RunConfig().model_dump())
    assert len(keys) > 50
    assert [key for key in keys if f"| `{key}` |" not in page] == []


def test_every_extra_is_on_the_install_page() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    text = (ROOT / "docs/install.md").read_text("utf-8")
    assert [extra for extra in project["optional-dependencies"] if f"| `{extra}` |" not in text] == []


def test_every_page_is_in_the_navigation() -> None:
    config = (ROOT / "mkdocs.yml").read_text("utf-8")
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if not re.search(rf": {re.escape(page)}$", config, re.MULTILINE)] == []


def test_the_links_of_the_site_lead_to_pages_of_the_site_or_name_a_file() -> None:
    site_links = script("build_docs").site_links
    home = ROOT / "docs/preference.md"
    links = "[a](../benchmarks/README.md) [b](training.md#steps) [c](../src/gavamoe/config.py) [d](https://x.org/y.md)"
    staged = site_links(links, home, "preference.md")
    assert staged == "[a](benchmarks.md) [b](training.md#steps) c (`src/gavamoe/config.py`) [d](https://x.org/y.md)"
    back = site_links("[e](../docs/data.md)", ROOT / "benchmarks/README.md", "benchmarks.md")
    assert back == "[e](data.md)"


@pytest.mark.skipif(
    shutil.which("zensical", path=str(Path(sys.executable).parent)) is None, reason="needs the extra docs"
)
@pytest.mark.timeout(120)
def test_the_site_builds_without_a_warning() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/build_docs.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


# Enough to run every line of an example, not to write sentences.
SHORT = ("explainer.epochs=1", "explainer.candidates=2", "preference.epochs=2", "preference.pretrain_epochs=2")


def run_example(*arguments: object) -> str:
    options = [word for setting in SHORT for word in ("--set", setting)]
    done = subprocess.run(
        [sys.executable, *map(str, arguments), *options],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_quickstart_example_trains_and_explains(tmp_path: Path) -> None:
    printed = run_example("examples/quickstart.py", tmp_path, "--reviews", 300)
    assert "predicted rating" in printed
    assert "responsibilities" in printed
    assert (tmp_path / "run/run.yaml").is_file()


@pytest.mark.slow
def test_the_example_of_own_reviews_evaluates_and_explains(tmp_path: Path, reviews_file: Path) -> None:
    printed = run_example("examples/own_reviews.py", reviews_file, tmp_path, "--preset", "tiny")
    assert "unknown: True" in printed
    assert json.loads((tmp_path / "run/metrics.json").read_text("utf-8"))["n"] == 50
