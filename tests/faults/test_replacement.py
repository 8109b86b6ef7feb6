"""Only what gavamoe wrote, unchanged, is ever replaced; everything else is refused with one line that names it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gavamoe import files
from gavamoe.data.dataset import ReviewDataset
from gavamoe.data.prepare import PrepareOptions, prepare
from gavamoe.data.simulate import World
from gavamoe.errors import DataError, InputError
from gavamoe.files import remove_abandoned, staged_directory, staged_file
from gavamoe.pipeline import demo
from gavamoe.seal import MANIFEST, check_replace, write_seal


def _content(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def _foreign_card(out: Path) -> None:
    (out / "card.json").write_text("{}")
    (out / "thesis.tex").write_text("years of work")


def _foreign_file(out: Path) -> None:
    (out / "notes.txt").write_text("a remark")


def _run_inside(out: Path) -> None:
    (out / "run").mkdir()
    (out / "run" / "run.yaml").write_text("data: x")


def _edited(out: Path) -> None:
    with (out / "card.md").open("a") as file:
        file.write("a remark")


def _linked(out: Path) -> None:
    (out / "elsewhere").symlink_to(out.parent)


def _empty_folder(out: Path) -> None:
    (out / "later").mkdir()


@pytest.mark.parametrize("change", [_foreign_card, _foreign_file, _run_inside, _edited, _linked, _empty_folder])
def test_prepare_refuses_a_directory_with_anything_else(change, dataset_path, reviews_file, tmp_path):
    out = tmp_path / "data"
    if change is _foreign_card:
        out.mkdir()
    else:
        shutil.copytree(dataset_path, out)
    change(out)
    before = _content(out)
    with pytest.raises(DataError, match="nothing was written") as raised:
        prepare([str(reviews_file)], out)
    assert "\n" not in str(raised.value)
    assert _content(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_prepare_refuses_to_replace_its_own_source(dataset_path, reviews_file, tmp_path):
    out = tmp_path / "data"
    shutil.copytree(dataset_path, out)
    shutil.copy(reviews_file, out)
    for source in (str(out / reviews_file.name), str(out / "*.gz"), str(out)):
        with pytest.raises(DataError, match="lies in"):
            prepare([source], out)
    assert (out / reviews_file.name).is_file()


@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "of a version without manifests"])
def test_prepare_replaces_a_dataset_that_it_wrote(sealed, dataset_path, reviews_file, tmp_path):
    out = tmp_path / "data"
    shutil.copytree(dataset_path, out)
    if not sealed:
        (out / MANIFEST).unlink()
    prepare([str(reviews_file)], out, PrepareOptions(seed=1))
    assert ReviewDataset.load(out).card["splits"]["seed"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_the_demo_replaces_only_an_unchanged_demo(tmp_path):
    out = tmp_path / "demo"
    out.mkdir()
    (out / "demo.json").write_text("{}")
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="nothing was written"):
        demo.run_demo(out, 0, print)
    assert (out / "thesis.tex").is_file()
    write_seal(out, [out / "demo.json", out / "thesis.tex"])
    check_replace(out, "demo", InputError)
    (out / "run").mkdir()
    (out / "run" / "metrics.json").write_text("{}")
    with pytest.raises(InputError, match=r"holds run/metrics\.json"):
        check_replace(out, "demo", InputError)


def test_an_interrupted_demo_is_replaced_and_what_others_put_beside_it_is_kept(tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    out = tmp_path / "demo"
    monkeypatch.setattr(demo, "World", lambda seed: World(users=40, items=20, reviews=500, seed=seed))
    monkeypatch.setattr(demo, "train_run", interrupt)
    for _ in range(2):  # the second replaces what the first left
        with pytest.raises(KeyboardInterrupt):
            demo.run_demo(out, 0, print)
        assert (out / "data" / "card.json").is_file()
        (out / f"{files.WORKSPACE}killed").mkdir()  # what a killed process leaves of a temporary copy
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="nothing was written"):
        demo.run_demo(out, 0, print)
    assert (out / "thesis.tex").is_file()


def test_a_manifest_that_names_files_elsewhere_is_refused(tmp_path):
    out = tmp_path / "data"
    out.mkdir()
    entry = {"bytes": 1, "sha256": "0" * 64}
    for name in ("../other", "/etc/hostname"):
        (out / MANIFEST).write_text(json.dumps({"version": 1, "files": {name: entry}}))
        with pytest.raises(InputError, match="damaged"):
            check_replace(out, "dataset", InputError)


# --- temporary copies ---


@pytest.mark.parametrize(("module", "name"), [(files, "_lock_directory"), (files.shutil, "rmtree")])
def test_a_signal_while_a_copy_is_made_or_deleted_leaves_no_copy(module, name, tmp_path, monkeypatch):
    called, interrupted = getattr(module, name), []

    def interrupt_once(*arguments, **options):
        if not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt
        return called(*arguments, **options)

    monkeypatch.setattr(module, name, interrupt_once)
    with pytest.raises(KeyboardInterrupt), staged_file(tmp_path / "file.txt") as staged:
        staged.write_text("new")
    assert interrupted
    assert [path.name for path in tmp_path.iterdir()] in ([], ["file.txt"])


KILLED = """
import os, sys
from pathlib import Path
from gavamoe.files import staged_directory, staged_file
path = Path(sys.argv[1])
with staged_directory(path / "data") as staged, staged_file(path / "file.txt") as file:
    (staged / "half").write_text("half")
    file.write_text("half")
    os.kill(os.getpid(), 9)
"""


def test_copies_of_killed_processes_are_deleted_and_those_in_use_are_kept(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert len(list(tmp_path.glob(".gavamoe-tmp-*"))) == 2
    with staged_file(tmp_path / "other.txt") as staged:
        remove_abandoned(tmp_path)
        staged.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["other.txt"]
    assert (tmp_path / "other.txt").read_text() == "whole"


KILLED_BETWEEN = """
import os, sys
from pathlib import Path
from gavamoe import files
files._exchange = lambda first, second: False
replace = os.replace
def killed(source, target):
    if Path(source).parent != Path(sys.argv[1]):
        os.kill(os.getpid(), 9)
    replace(source, target)
os.replace = killed
with files.staged_directory(Path(sys.argv[1]) / "data") as staged:
    (staged / "version").write_text("new")
"""


def test_a_directory_that_was_moved_away_when_the_process_was_killed_is_moved_back(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "version").write_text("old")
    subprocess.run([sys.executable, "-c", KILLED_BETWEEN, str(tmp_path)], check=False)
    assert not (tmp_path / "data").exists()
    remove_abandoned(tmp_path)
    assert (tmp_path / "data" / "version").read_text() == "old"


@pytest.mark.parametrize("exchange", [True, False], ids=["in one step", "in two steps"])
def test_a_directory_is_replaced_as_a_whole(exchange, tmp_path, monkeypatch):
    if not exchange:
        monkeypatch.setattr(files, "_exchange", lambda first, second: False)
    for version in ("old", "new"):
        with staged_directory(tmp_path / "data") as staged:
            (staged / version).write_text(version)
    assert _content(tmp_path) == {"data/new": b"new"}


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_files_have_the_mode_of_new_files_whatever_writes_them(umask, tmp_path):
    before = os.umask(umask)
    try:
        with staged_directory(tmp_path / "run") as staged, staged_file(tmp_path / "file") as file:
            for path in (staged / "weights", file):
                path.write_text("")
                path.chmod(0o600)  # as safetensors leaves it
    finally:
        os.umask(before)
    for path in (tmp_path / "run" / "weights", tmp_path / "file"):
        assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o777 & ~umask


@pytest.mark.parametrize("name", ["x" * 250 + ".json", "[ ].json", "*.json", "línea\u0301.json"])
def test_any_name_of_a_file_can_be_written(name, tmp_path):
    with staged_file(tmp_path / name) as staged:
        staged.write_text("content")
    assert _content(tmp_path) == {name: b"content"}
