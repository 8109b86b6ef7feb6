"""results.csv, .md, .tex and .html of a comparison, each written whole."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, StrictUndefined, select_autoescape

from gavamoe.evaluation.plots import to_svg
from gavamoe.experiments.aggregate import SystemResult, Table
from gavamoe.experiments.config import Recipe
from gavamoe.experiments.grids import Section, TableCell, section
from gavamoe.experiments.plots import pictures
from gavamoe.files import staged_file

TITLE = "Comparison"
TEX = {"&": r"\&", "%": r"\%", "_": r"\_", "±": r"$\pm$", "†": r"$^\dagger$", "↑": r"$\uparrow$", "↓": r"$\downarrow$"}
TEX |= {"–": "--", "#": r"\#", "+": "{+}", "<": "$<$", ">": "$>$"}
FIGURES = {"condition": pl.String, "oracle": pl.Boolean, "split": pl.String, "model": pl.String, "told": pl.String}
FIGURES |= {"metric": pl.String, "mean": pl.Float64, "spread": pl.Float64, "p": pl.Float64, "seeds": pl.Int64}
FIGURES |= {"best_of_others": pl.Boolean, "values": pl.String}


def write_tables(out: Path, tables: list[Table], recipe: Recipe) -> None:
    """Write all four into `out`, and the pictures into `out`/plots."""
    sections = [section(table) for table in tables]
    drawn = {title: to_svg(figure) for title, figure in pictures(tables, recipe).items()}
    texts = {
        "results.csv": csv(tables),
        "results.md": markdown(sections),
        "results.tex": latex(sections),
        "results.html": html(sections, drawn),
        **{f"plots/{_file_name(title)}.svg": svg for title, svg in drawn.items()},
    }
    for name, text in texts.items():
        with staged_file(out / name) as staged:
            staged.write_text(text, encoding="utf-8")


def csv(tables: list[Table]) -> str:
    """A line a figure, with what training took as figures of their own."""
    rows = [row for table in tables for line in table.lines for row in _csv_rows(table, line)]
    return pl.DataFrame(rows, schema=FIGURES).write_csv()


def _csv_rows(table: Table, line: SystemResult) -> list[dict[str, Any]]:
    common = {
        "condition": table.condition.slug,
        "oracle": table.condition.oracle,
        "split": table.split,
        "model": line.model,
        "told": " ".join(f"{fact}={source}" for fact, source in line.told.items()),
        "seeds": line.seeds,
    }
    best = table.best
    figures = [
        {
            **common,
            "metric": metric,
            "mean": figure.mean,
            "spread": figure.spread,
            "p": figure.p,
            "best_of_others": metric in best and best[metric] is line,
            "values": " ".join(f"{value:.6g}" for value in figure.values),
        }
        for metric, figure in line.figures.items()
    ]
    took = [{**common, "metric": name, "mean": value} for name, value in line.training.items() if value is not None]
    losses = [
        {**common, "metric": f"valid_loss after epoch {epoch}", "mean": loss.mean, "spread": loss.spread}
        for epoch, loss in enumerate(line.losses, start=1)
    ]
    return [{name: row.get(name) for name in FIGURES} for row in [*figures, *took, *losses]]


def markdown(sections: list[Section]) -> str:
    """Tables for a README."""
    parts = [f"# {TITLE}"]
    for shown in sections:
        parts += [f"## {shown.title}", shown.notes]
        for caption, grid in shown.grids.items():
            rows = [[name, *(f"**{e.text}**" if e.best else e.text for e in entries)] for name, entries in grid.rows]
            lines = [grid.columns, ["---"] * len(grid.columns), *rows]
            parts += [f"### {caption}", "\n".join(f"| {' | '.join(line)} |" for line in lines)]
    return "\n\n".join(parts) + "\n"


def latex(sections: list[Section]) -> str:
    r"""Tables for a paper; they need \usepackage{booktabs}."""
    parts = [r"% \usepackage{booktabs}"]
    for shown in sections:
        for caption, grid in shown.grids.items():
            head = " & ".join(map(_tex, grid.columns)) + r" \\"
            rows = [" & ".join([_tex(name), *map(_tex_entry, entries)]) + r" \\" for name, entries in grid.rows]
            parts.append(
                "\n".join(
                    [
                        r"\begin{table}",
                        rf"\caption{{{_tex(f'{shown.title}. {caption}. {shown.notes}')}}}",
                        rf"\begin{{tabular}}{{l{'r' * (len(grid.columns) - 1)}}}",
                        r"\toprule",
                        head,
                        r"\midrule",
                        *rows,
                        r"\bottomrule",
                        r"\end{tabular}",
                        r"\end{table}",
                    ]
                )
            )
    return "\n\n".join(parts) + "\n"


def html(sections: list[Section], drawn: dict[str, str]) -> str:
    """One self-contained page."""
    environment = Environment(
        autoescape=select_autoescape(default=True), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = files("gavamoe.experiments").joinpath("templates", "results.html").read_text("utf-8")
    return environment.from_string(source).render(title=TITLE, sections=sections, pictures=drawn)


def _tex(text: str) -> str:
    return "".join(TEX.get(letter, letter) for letter in text)


def _tex_entry(entry: TableCell) -> str:
    return rf"\textbf{{{_tex(entry.text)}}}" if entry.best else _tex(entry.text)


def _file_name(title: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in title.lower()).split())
