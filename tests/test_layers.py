"""The order of layers: a module imports only from layers below its own, and nothing imports in a circle."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "gavamoe"
ROOT = {
    *("errors", "_version", "files", "distributed", "checkpoint"),
    *("progress", "config", "presets", "conditions", "run", "seal", "markdown", "words"),
    *("parameters", "probability_bins", "ray_cluster"),
}
# What each folder may import besides itself. `ROOT` stands for the modules beside the folders.
ALLOWED: dict[str, set[str]] = {
    "features": ROOT,
    "data": ROOT | {"features"},
    "moe": {"errors", "distributed"},
    "language": ROOT,
    "preference": ROOT | {"data"},
    "explainer": ROOT | {"features", "data", "moe", "language", "preference"},
    "evaluation": ROOT | {"features", "data"},
    "baselines": ROOT | {"features", "data", "language"},
    "diagnostics": ROOT | {"data", "moe", "language", "preference", "explainer", "evaluation"},
}
BELOW_PIPELINE = ROOT | set(ALLOWED)
ALLOWED["pipeline"] = set(BELOW_PIPELINE)
ALLOWED["export"] = set(BELOW_PIPELINE)
ALLOWED["experiments"] = BELOW_PIPELINE | {"pipeline"}
ALLOWED["service"] = BELOW_PIPELINE | {"pipeline"}
ALLOWED["cli"] = BELOW_PIPELINE | {"pipeline", "export", "experiments", "service"}


def _modules() -> dict[str, ast.Module]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(("gavamoe", *parts)).removesuffix(".__init__")
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


MODULES = _modules()


def _imports(name: str) -> set[str]:
    """Modules of the package that `name` imports anywhere, except for type checking alone."""
    found = set()
    for node in ast.walk(_without_type_checking(MODULES[name])):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES.keys()
            found |= submodules or {node.module}
    return {module for module in found if module in MODULES and module not in ("gavamoe", name)}


def _without_type_checking(tree: ast.Module) -> ast.Module:
    kept = [n for n in tree.body if not (isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")]
    return ast.Module(body=kept, type_ignores=[])


def _layer(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("folder", sorted(ALLOWED))
def test_a_folder_imports_only_from_layers_below_it(folder):
    wrong = {
        f"{name} imports {imported}"
        for name in MODULES
        if name.startswith(f"gavamoe.{folder}.") or name == f"gavamoe.{folder}"
        for imported in _imports(name)
        if _layer(imported) not in ALLOWED[folder] | {folder}
    }
    assert not wrong


@pytest.mark.parametrize("folder", sorted(ALLOWED.keys() - {"cli"}))  # a module per command needs no list
def test_the_docstring_of_a_folder_names_its_modules(folder):
    words = set(re.findall(r"\w+", ast.get_docstring(MODULES[f"gavamoe.{folder}"]) or ""))
    modules = {name.rpartition(".")[2] for name in MODULES if name.rpartition(".")[0] == f"gavamoe.{folder}"}
    assert not modules - words


def test_only_the_serve_command_imports_the_service():
    users = {name for name in MODULES if any(_layer(imported) == "service" for imported in _imports(name))}
    assert {name for name in users if _layer(name) != "service"} == {"gavamoe.cli.serve"}


def test_modules_import_each_other_in_one_direction():
    graph = {name: _imports(name) for name in MODULES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name not in done:
            for imported in sorted(graph[name]):
                visit(imported, (*path, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


# Public classes that share a name with a class elsewhere in the package, each with the reason why both keep it.
# Every entry must still be needed.
SAME_NAME_ALLOWED: dict[str, str] = {}

SHORTEST_MODULE = 40  # lines
# Modules that are shorter, each with the reason why it is a file.
SHORT_MODULES: dict[str, str] = {
    "gavamoe.__main__": "`python -m gavamoe` needs this file",
    "gavamoe._version": "the build reads the version from this file without importing the package",
    "gavamoe.markdown": "a helper that three folders share, and none of them is below the others",
    "gavamoe.parameters": "a helper that five folders share, and where a newcomer looks for the count",
    "gavamoe.probability_bins": "a helper that two folders share, and neither is below the other",
    "gavamoe.data.sentences": "the name by which scripts import what features needs too",
    "gavamoe.evaluation.metrics.genericness": "one file per family of metrics",
    "gavamoe.evaluation.metrics.hallucination": "one file per family of metrics",
    "gavamoe.evaluation.metrics.surface": "one file per family of metrics",
    "gavamoe.presets.auto": "a preset, beside the files of the others",
}


def test_no_two_public_classes_have_the_same_name():
    places: dict[str, list[str]] = {}
    for name, tree in MODULES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(name)
    repeated = {name: modules for name, modules in places.items() if len(modules) > 1}
    assert {name: modules for name, modules in repeated.items() if name not in SAME_NAME_ALLOWED} == {}
    assert SAME_NAME_ALLOWED.keys() <= repeated.keys(), "entries that are no longer needed"


def test_no_module_is_short_without_a_reason():
    lengths = {
        ".".join(("gavamoe", *path.relative_to(PACKAGE).with_suffix("").parts)): len(
            path.read_text(encoding="utf-8").splitlines()
        )
        for path in PACKAGE.rglob("*.py")
        if path.name != "__init__.py"
    }
    short = {name for name, lines in lengths.items() if lines < SHORTEST_MODULE}
    assert short - SHORT_MODULES.keys() == set()
    assert SHORT_MODULES.keys() <= short, "entries that are no longer needed"
