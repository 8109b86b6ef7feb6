"""Every option that a message advises exists on the command that prints the message."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import typer
from typer.main import get_command

import gavamoe
from gavamoe.cli.main import app

SOURCES = Path(gavamoe.__file__).parent
OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]+)")
# A command line inside a message, such as `gavamoe train {} --out {} --resume`, to its end.
COMMAND_LINE = re.compile(r"gavamoe ([a-z]+)\b([^`;)\n]*)")
# Messages about other programs.
FOREIGN = {"index-url", "no-deps"}


@pytest.fixture(scope="module")
def options() -> dict[str, set[str]]:
    """The options of each command."""
    group = get_command(app)
    context = typer.Context(group)
    found: dict[str, set[str]] = {}

    def walk(name: str, command: object) -> None:
        found[name] = {
            option.lstrip("-")
            for parameter in command.params
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
        for child in getattr(command, "commands", {}):
            walk(f"{name} {child}", command.get_command(context, child))

    for name in group.list_commands(context):
        walk(name, group.get_command(context, name))
    return found


def messages(path: Path) -> list[str]:
    """The texts of a module that are no docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    parts = {
        id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values
    }  # of formatted strings, which count as a whole
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            found.append("".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings | parts:
            found.append(node.value)
    return found


def options_of(command: str, options: dict[str, set[str]]) -> set[str]:
    """The options of a command and of its subcommands."""
    return set().union(*(found for name, found in options.items() if name.split()[0] == command)) | {"help"}


def test_every_advised_option_exists_on_a_command(options: dict[str, set[str]]) -> None:
    known = set().union(*options.values()) | {"help", "version"} | FOREIGN
    for path in SOURCES.rglob("*.py"):
        for text in messages(path):
            # `--{column}-col` is filled in with the name of a review column.
            advised = {name for name in OPTION.findall(text) if not name.endswith("-")}
            assert advised <= known, f"{path.name}: {text!r} advises {advised - known}"


def test_a_command_line_in_a_message_has_options_of_that_command(options: dict[str, set[str]]) -> None:
    checked = 0
    commands = {name.split()[0] for name in options}
    for path in SOURCES.rglob("*.py"):
        for text in messages(path):
            for command, rest in COMMAND_LINE.findall(text):
                if command in commands:
                    advised = set(OPTION.findall(rest))
                    own = options_of(command, options)
                    assert advised <= own, f"{path.name}: {text!r} advises {advised - own} of {command}"
                    checked += bool(advised)
    assert checked > 10


@pytest.mark.parametrize("command", sorted(path.stem for path in (SOURCES / "cli").glob("[a-z]*.py")))
def test_messages_of_a_command_advise_its_own_options(command: str, options: dict[str, set[str]]) -> None:
    if not any(name.split()[0] == command for name in options):
        return  # a module that several commands share
    own = options_of(command, options)
    for text in messages(SOURCES / "cli" / f"{command}.py"):
        advised = set(OPTION.findall(COMMAND_LINE.sub("", text)))
        assert advised <= own, f"{command}: {text!r} advises {advised - own}"


@pytest.mark.parametrize("column", ["user", "item", "rating", "text", "feature", "timestamp", "split"])
def test_each_review_column_can_be_named(column: str, options: dict[str, set[str]]) -> None:
    assert f"{column}-col" in options["prepare"]
