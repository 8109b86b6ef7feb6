"""The distributions: wheel and sdist build, and the installed wheel does the main job without the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml
from helpers.worlds import TINY

import gavamoe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "gavamoe"
SOURCES = ("pyproject.toml", "MANIFEST.in", "README.md", "CHANGELOG.md", "CITATION.cff", "LICENSE", "src", "tests")
# The build backend of the current environment, without isolation: nothing is downloaded.
BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, f'build_{sys.argv[1]}')(sys.argv[2]))"


def build(kind: str, source: Path, out: Path) -> Path:
    """Build a "wheel" or "sdist" of the source tree into `out`."""
    out.mkdir()
    command = [sys.executable, "-c", BUILD, kind, str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out / done.stdout.splitlines()[-1]


def contents(wheel: Path) -> dict[str, bytes]:
    """Return the files of a wheel by name, without the list of their checksums."""
    with ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, so that building leaves nothing in it."""
    copy = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
        else:
            shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope="module")
def sdist(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", source, tmp_path_factory.mktemp("sdist") / "dist")


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", source, tmp_path_factory.mktemp("wheel") / "dist")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and the dependencies of the current environment, but not the checkout.

    Installing torch again would take minutes. A .pth file adds the current site-packages to the import path; Python
    does not process .pth files found there, so an editable installation of the checkout stays invisible.
    """
    home = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python")]
    subprocess.run([*pip, "install", "--quiet", "--no-index", "--no-deps", str(wheel)], check=True)
    (site_packages,) = home.glob("lib/python*/site-packages")
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home


class Outside:
    """Runs programs of an environment in a directory outside the checkout."""

    def __init__(self, home: Path, directory: Path) -> None:
        self.home, self.directory = home, directory
        self.environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self.environment["OMP_NUM_THREADS"] = "1"

    def run(self, program: str, *arguments: str) -> str:
        command = [str(self.home / "bin" / program), *arguments]
        done = subprocess.run(
            command, cwd=self.directory, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def outside(installed: Path, tmp_path: Path) -> Outside:
    return Outside(installed, tmp_path)


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: Path):
    found = {name for name in contents(wheel) if ".dist-info/" not in name}
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert found == {path.relative_to(PACKAGE.parent).as_posix() for path in files}
    assert {"gavamoe/py.typed", "gavamoe/presets/tiny.yaml", "gavamoe/evaluation/templates/report.html"} <= found


def test_the_metadata_names_version_licence_and_addresses(wheel: Path):
    files = contents(wheel)
    (name,) = (name for name in files if name.endswith(".dist-info/METADATA"))
    lines = files[name].decode().splitlines()
    assert f"Version: {gavamoe.__version__}" in lines
    assert "License-Expression: Apache-2.0" in lines
    assert "Project-URL: Paper, https://arxiv.org/abs/2410.11841" in lines
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in files)


def test_the_sdist_builds_the_same_wheel_and_holds_no_tests(sdist: Path, wheel: Path, tmp_path: Path):
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    assert not (unpacked / "tests").exists()
    assert contents(build("wheel", unpacked, tmp_path / "dist")) == contents(wheel)


def test_the_installed_package_is_not_the_checkout(outside: Outside, installed: Path):
    program = "import sys, gavamoe; print(gavamoe.__file__); print(*sys.path, sep='\\n')"
    file, *path = outside.run("python", "-c", program).splitlines()
    assert Path(file).is_relative_to(installed)
    assert str(ROOT / "src") not in path


def test_the_installed_command_says_version_and_help(outside: Outside):
    assert outside.run("gavamoe", "--version").strip() == gavamoe.__version__
    assert "demo" in outside.run("gavamoe", "--help")
    assert "--out" in outside.run("gavamoe", "demo", "--help")


def test_the_installed_command_does_the_main_job(outside: Outside):
    """The steps of `gavamoe demo`, smaller: the demo has no option for its size and takes minutes on one core."""
    directory = outside.directory
    (directory / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    sizes = ["--users", "40", "--items", "20", "--reviews", "500", "--clusters", "3"]
    outside.run("gavamoe", "simulate", "--out", "reviews.jsonl.gz", *sizes)
    outside.run("gavamoe", "prepare", "reviews.jsonl.gz", "--out", "data")
    outside.run("gavamoe", "train", "data", "--out", "run", "--preset", "tiny", "--config", "tiny.yaml")
    evaluated = json.loads(outside.run("gavamoe", "evaluate", "run", "--json"))
    assert evaluated["n"] == 50
    assert evaluated["metrics"]["RMSE"] > 0
    assert (directory / "run" / "report.html").is_file()
    explained = json.loads(outside.run("gavamoe", "explain", "run", "--user", "u01", "--item", "i01", "--json"))
    assert explained["text"]
