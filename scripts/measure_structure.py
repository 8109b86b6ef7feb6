"""Measure the structure of a Python package: files, lines, arrows between folders, import cycles.

    python scripts/measure_structure.py [src/gavamoe]

Deferred imports and imports for type checking count like all others: a reader follows them too.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from statistics import median


def main(package: Path) -> None:
    """Print one line per figure."""
    trees = {_name(path, package): ast.parse(path.read_text(encoding="utf-8")) for path in package.rglob("*.py")}
    lines = sorted(len(path.read_text(encoding="utf-8").splitlines()) for path in package.rglob("*.py"))
    modules = [count for count in lines if count > 5]  # files that hold only a docstring say where a folder is
    entries = (package.name, f"{package.name}.__main__")  # they name what is public, and run it
    imports = {name: _imports(name, tree, trees) for name, tree in trees.items() if name not in entries}
    arrows = {(_folder(a), _folder(b)) for a, found in imports.items() for b in found if _folder(a) != _folder(b)}
    print(f"files                  {len(modules)}")
    print(f"lines                  {sum(modules)}")
    print(f"median lines           {median(modules):g}")
    print(f"largest file           {max(modules)}")
    print(f"files under 40 lines   {sum(count < 40 for count in modules)}")
    print(f"arrows between folders {len(arrows)}")
    print(f"arrows that run both ways {sum((b, a) in arrows for a, b in arrows) // 2}")
    cycles = [group for group in _strong_components(imports) if len(group) > 1]
    print(f"import cycles          {len(cycles)}, of {sum(map(len, cycles))} files")


def _name(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def _folder(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 2 else "root"


def _imports(name: str, tree: ast.Module, known: dict[str, ast.Module]) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    top = name.split(".")[0]
    return {module for module in found & known.keys() if module not in (name, top, f"{top}.__main__")}


def _strong_components(graph: dict[str, set[str]]) -> list[set[str]]:
    reach = {name: _reachable(name, graph) for name in graph}
    groups = {frozenset({a, *(b for b in reach[a] if a in reach[b])}) for a in graph}
    return [set(group) for group in groups]


def _reachable(start: str, graph: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += graph.get(name, ())
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "src" / "gavamoe")
