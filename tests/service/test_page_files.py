"""The page's files: complete, without markup from strings, without anything from another host."""

from __future__ import annotations

import re
from pathlib import Path

import gavamoe

STATIC = Path(gavamoe.__file__).parent / "service" / "static"
SCRIPTS = sorted((STATIC / "js").rglob("*.js"))
TEXTS = [*SCRIPTS, *sorted((STATIC / "css").glob("*.css")), STATIC / "index.html"]


def test_no_script_makes_markup_or_code_from_strings():
    for path in SCRIPTS:
        found = re.findall(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", path.read_text()
        )
        assert not found, path.name


def test_nothing_is_loaded_from_another_host():
    for path in TEXTS:
        hosts = set(re.findall(r"https?://([\w.]+)", path.read_text())) - {"www.w3.org"}
        assert not hosts, path.name


def test_the_html_has_no_inline_script_or_style():
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page)


def test_every_module_exists_and_is_loaded_ahead():
    page = (STATIC / "index.html").read_text()
    named = {STATIC / path.removeprefix("static/") for path in re.findall(r'(?:href|src)="(static/[^"]+)"', page)}
    assert all(path.is_file() for path in named)
    for script in SCRIPTS:
        imported = {(script.parent / path).resolve() for path in re.findall(r'from "(\.[^"]+)"', script.read_text())}
        assert imported <= {path.resolve() for path in named}, script.name


def test_the_css_names_only_variables_that_exist():
    css = "".join(path.read_text() for path in (STATIC / "css").glob("*.css"))
    scripts = "".join(path.read_text() for path in SCRIPTS)
    defined = set(re.findall(r"(--[\w-]+):", css)) | set(re.findall(r'"(--[\w-]+)"', scripts))
    assert set(re.findall(r"var\((--[\w-]+)", css)) <= defined


def test_the_cluster_colours_are_those_of_the_reports():
    from gavamoe.evaluation.plots import COLOURS

    css = (STATIC / "css" / "base.css").read_text()
    light = css[: css.index('[data-theme="dark"]')]
    assert [found.upper() for found in re.findall(r"--c\d: (#\w+);", light)] == [colour.upper() for colour in COLOURS]
