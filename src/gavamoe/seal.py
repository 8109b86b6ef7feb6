"""The seal of a directory that gavamoe wrote: manifest.json, with the size and SHA-256 of every sealed file.

write_seal      written last, when the directory is complete
check_seal      read first: a file that is missing, another, or not of the directory is one line that names it
check_replace   whether a directory holds nothing but what gavamoe wrote there, so that it may be replaced

Small files are checked by their content. Files above LARGE bytes (weights) are checked by their size, their header and
blocks between; a thorough check reads all of them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from gavamoe.errors import InputError, RunError
from gavamoe.files import is_temporary, sha256_of_file, write_json

MANIFEST, VERSION = "manifest.json", 1
LARGE = 64 << 20
BLOCKS, BLOCK = 16, 1 << 20  # what is read of a large file
# A run says where its base model is; that place may change (`explainer.lora.load_adapter`).
MAY_CHANGE = {"adapter_config.json": "base_model_name_or_path"}

Entry = dict[str, int | str]


def write_seal(directory: Path, files: Iterable[Path]) -> None:
    """Write manifest.json for files of a directory.

    Args:
        directory: the directory.
        files: paths of the files, inside the directory.
    """
    entries = {file.relative_to(directory).as_posix(): _entry(file, thorough=True) for file in sorted(files)}
    write_json(directory / MANIFEST, {"version": VERSION, "files": entries})


def is_sealed(directory: Path) -> bool:
    """Return whether a directory has a manifest."""
    return (directory / MANIFEST).is_file()


def sealed_files(directory: Path, error: type[InputError] = RunError) -> dict[str, Entry]:
    """Return the entries of manifest.json by the relative path of each file.

    Raises:
        InputError: manifest.json is damaged or of another version; of the class `error`.
    """
    path = directory / MANIFEST
    try:
        manifest: Any = json.loads(path.read_text(encoding="utf-8"))
        files = manifest["files"]
        if manifest["version"] != VERSION or not all(_is_entry(name, entry) for name, entry in files.items()):
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise error(
            f"{path} is damaged or of another version; copy the whole directory again from where it was made"
        ) from None
    return dict(files)


def check_seal(
    directory: Path,
    present: Iterable[Path],
    may_lack: Collection[str] = (),
    thorough: bool = False,
    error: type[InputError] = RunError,
) -> list[str]:
    """Check that the sealed files of a directory are there and unchanged; the directory has a manifest.

    Args:
        directory: the directory.
        present: the files that are there, of those that a seal covers.
        may_lack: relative paths that may be absent.
        thorough: whether large files are read as a whole.
        error: class of the exception.

    Returns:
        The sealed files among `may_lack` that are absent.

    Raises:
        InputError: a file is missing, differs, or does not belong to the directory; the message names it.
    """
    sealed = sealed_files(directory, error)
    advice = "copy the whole directory again from where it was made"
    for file in present:
        if file.relative_to(directory).as_posix() not in sealed:
            raise error(f"{file} does not belong to {directory}: {MANIFEST} does not list it; remove it, or {advice}")
    absent = []
    for name, entry in sealed.items():
        path = directory / name
        if not path.is_file():
            if name not in may_lack:
                raise error(f"{path} is missing; {advice}")
            absent.append(name)
        elif not _matches(path, entry, thorough):
            raise error(f"{path} is damaged or belongs to another directory: it is not as {MANIFEST} says; {advice}")
    return absent


def check_replace(
    directory: Path,
    what: str,
    error: type[InputError],
    unsealed: Collection[str] = (),
    editable: Collection[str] = (),
) -> None:
    """Check that a directory that exists may be replaced: gavamoe wrote all of it, and nobody changed it since.

    Args:
        directory: the directory.
        what: what gavamoe wrote, for the message, such as "dataset".
        error: class of the exception.
        unsealed: names of the files that gavamoe wrote before manifests existed; a directory without a manifest may
            hold these only.
        editable: names of files that gavamoe writes without sealing them, such as a model card.

    Raises:
        InputError: the directory holds something else; the message names one such file.
    """
    advice = "move it away, or choose another --out; nothing was written"
    if not directory.is_dir():
        raise error(f"{directory} exists and is no {what}: {advice}")
    files = [path for path in _files_below(directory) if path.name != MANIFEST or path.parent != directory]
    sealed = sealed_files(directory, error) if is_sealed(directory) else dict.fromkeys(unsealed)
    sealed = {**dict.fromkeys(editable), **sealed}
    for path in files:
        name = path.relative_to(directory).as_posix()
        if name not in sealed:
            raise error(f"{directory} holds {name}, which is no part of a {what} that gavamoe wrote: {advice}")
        entry = sealed[name]
        if entry is not None and (path.is_symlink() or not _matches(path, entry, thorough=False)):
            raise error(f"{path} was changed after gavamoe wrote it: {advice}")


def _files_below(directory: Path) -> list[Path]:
    """Return every file and link below a directory, and every folder that is empty, without temporary copies."""
    found = []
    for folder, folders, files in os.walk(directory):
        here = Path(folder)
        folders[:] = [name for name in folders if not is_temporary(here / name)]
        found += [here / name for name in files if not is_temporary(here / name)]
        found += [here / name for name in folders if (here / name).is_symlink() or not any((here / name).iterdir())]
    return sorted(found)


def _entry(path: Path, thorough: bool) -> Entry:
    """Return what is kept of a file; a large file has its SHA-256 only if `thorough`."""
    if path.name in MAY_CHANGE:
        return {"sha256": _sha256_without(path, MAY_CHANGE[path.name])}
    size = path.stat().st_size
    if size <= LARGE:
        return {"bytes": size, "sha256": sha256_of_file(path)}
    return {
        "bytes": size,
        "blocks": _sha256_of_blocks(path, size),
        **({"sha256": sha256_of_file(path)} if thorough else {}),
    }


def _matches(path: Path, entry: Entry, thorough: bool) -> bool:
    """Return whether a file is the one of an entry."""
    if entry.get("bytes", path.stat().st_size) != path.stat().st_size:
        return False
    try:
        found = _entry(path, thorough or "blocks" not in entry)
    except (OSError, ValueError, AttributeError):
        return False
    return all(found[name] == entry[name] for name in entry.keys() & found.keys())


def _sha256_of_blocks(path: Path, size: int) -> str:
    """Return the checksum of the beginning, which holds the header of weights, of the end, and of blocks between."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for number in range(BLOCKS):
            file.seek(number * (size - BLOCK) // (BLOCKS - 1))
            digest.update(file.read(BLOCK))
    return digest.hexdigest()


def _sha256_without(path: Path, key: str) -> str:
    """Return the checksum of a JSON object without one of its keys."""
    content = json.loads(path.read_text(encoding="utf-8"))
    kept = {name: value for name, value in content.items() if name != key}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _is_entry(name: object, entry: object) -> bool:
    """Return whether a name and its entry can be checked; a path may not leave the directory."""
    if not isinstance(name, str) or not isinstance(entry, dict) or not isinstance(entry.get("sha256"), str):
        return False
    return not Path(name).is_absolute() and ".." not in Path(name).parts
