"""A system that is named by where its class is: FILE.py:CLASS or MODULE:CLASS.

examples/own_baseline.py:PopularSentence    a file; modules beside it can be imported
mypackage.mymodule:MyBaseline               a module; the current directory can be imported from
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from gavamoe.baselines.registry import RegisteredSystem
from gavamoe.errors import ConfigError

METHODS = ("fit", "load", "predict")
KNOWN_INPUTS = frozenset({"rating", "feature"})


def is_reference(name: str) -> bool:
    """Return whether a name refers to a class by FILE.py:CLASS or MODULE:CLASS."""
    return ":" in name


def class_name(reference: str) -> str:
    """Return the name of the class that a reference names."""
    return reference.rpartition(":")[2]


def directory_name(reference: str) -> str:
    """Return the reference as the name of a directory, without slashes and colons."""
    return re.sub(r"[^\w.+-]+", "-", reference).lstrip(".-")


def load_user_system(reference: str) -> RegisteredSystem:
    """Import the class that a reference names, and check that it is a system.

    Raises:
        ConfigError: the file, the module, the class or one of its members is missing, or importing it fails.
    """
    source, _, name = reference.rpartition(":")
    module = _import(source, reference)
    found = getattr(module, name, None)
    if not inspect.isclass(found):
        classes = [key for key, value in vars(module).items() if inspect.isclass(value) and not key.startswith("_")]
        raise ConfigError(f"{source} has no class '{name}'; it has {', '.join(classes) or 'none'}")
    system: Any = found  # a class of the user's, of which the checks below tell whether it is a System
    missing = [method for method in METHODS if not callable(getattr(system, method, None))]
    missing += sorted(getattr(system, "__abstractmethods__", ()))
    missing += [] if hasattr(system, "inputs") else ["inputs"]
    if missing:
        raise ConfigError(f"{reference} is no system, it lacks {', '.join(dict.fromkeys(missing))}")
    if not isinstance(system.inputs, frozenset | set) or not system.inputs <= KNOWN_INPUTS:
        raise ConfigError(f"{reference}: inputs must be a frozenset of {', '.join(sorted(KNOWN_INPUTS))}, or empty")
    try:
        inspect.signature(system).bind()
    except TypeError as error:
        raise ConfigError(f"{reference} must be a class that is made without arguments: {error}") from None
    needs_texts = bool(getattr(system, "needs_texts", False))  # a class that does not say is not refused
    return RegisteredSystem(lambda context: system(), frozenset(system.inputs), needs_texts=needs_texts)


def _import(source: str, reference: str) -> ModuleType:
    """Import a file or a module; whatever its code raises becomes one line."""
    path = Path(source)
    try:
        if path.suffix != ".py":
            with _importable(Path.cwd()):
                return importlib.import_module(source)
        if not path.is_file():
            raise ConfigError(f"there is no file {path} for the model {reference}")
        with _importable(Path.cwd(), path.resolve().parent):
            return _import_file(path)
    except ConfigError:
        raise
    except Exception as error:  # the user's own code may raise anything
        raise ConfigError(f"the model {reference} cannot be imported: {type(error).__name__}: {error}") from error


def _import_file(path: Path) -> ModuleType:
    name = f"gavamoe_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@contextmanager
def _importable(*directories: Path) -> Iterator[None]:
    """Put directories first on the import path, and take them off again."""
    before = list(sys.path)
    sys.path[:0] = map(str, directories)
    try:
        yield
    finally:
        sys.path[:] = before
