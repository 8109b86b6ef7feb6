"""The result files of a comparison: results.csv, .md, .tex and .html, each written atomically."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from gavamoe.evaluation.plots import to_svg
from gavamoe.evaluation.report import render_page
from gavamoe.experiments.aggregate import SystemResult, Table
from gavamoe.experiments.grids import Section, TableCell, make_section
from gavamoe.experiments.plots import draw_plots
from gavamoe.experiments.systems import SystemSpec
from gavamoe.files import staged_file
from gavamoe.markdown import markdown_table

TITLE = "Comparison"
TEX = {"&": r"\&", "%": r"\%", "_": r"\_", "±": r"$\pm$", "†": r"$^\dagger$", "↑": r"$\uparrow$", "↓": r"$\downarrow$"}
TEX |= {"–": "--", "#": r"\#", "+": "{+}", "<": "$<$", ">": "$>$"}
COLUMNS = {"condition": pl.String, "oracle": pl.Boolean, "split": pl.String, "model": pl.String, "told": pl.String}
COLUMNS |= {"metric": pl.String, "mean": pl.Float64, "spread": pl.Float64, "p": pl.Float64, "seeds": pl.Int64}
COLUMNS |= {"best_of_others": pl.Boolean, "values": pl.String}


def write_tables(out: Path, tables: list[Table], specs: Sequence[SystemSpec]) -> None:
    """Write all four files into `out`, and the plots into `out`/plots."""
    sections = [make_section(table) for table in tables]
    plots = {title: to_svg(figure) for title, figure in draw_plots(tables, specs).items()}
    texts = {
        "results.csv": csv(tables),
        "results.md": markdown(sections),
        "results.tex": latex(sections),
        "results.html": html(sections, plots),
        **{f"plots/{_file_name(title)}.svg": svg for title, svg in plots.items()},
    }
    for name, text in texts.items():
        with staged_file(out / name) as staged:
            staged.write_text(text, encoding="utf-8")


def csv(tables: list[Table]) -> str:
    """Return one row per system and metric; training costs and losses are further metrics."""
    rows = [row for table in tables for result in table.results for row in _csv_rows(table, result)]
    return pl.DataFrame(rows, schema=COLUMNS).write_csv()


def _csv_rows(table: Table, result: SystemResult) -> list[dict[str, Any]]:
    common = {
        "condition": table.condition.slug,
        "oracle": table.condition.oracle,
        "split": table.split,
        "model": result.model,
        "told": " ".join(f"{field}={source}" for field, source in result.inputs.items()),
        "seeds": result.seeds,
    }
    best = table.best_of_others
    metrics = [
        {
            **common,
            "metric": metric,
            "mean": summary.mean,
            "spread": summary.spread,
            "p": summary.p,
            "best_of_others": metric in best and best[metric] is result,
            "values": " ".join(f"{value:.6g}" for value in summary.values),
        }
        for metric, summary in result.metrics.items()
    ]
    costs = [{**common, "metric": name, "mean": value} for name, value in result.training.items() if value is not None]
    losses = [
        {**common, "metric": f"valid_loss after epoch {epoch}", "mean": loss.mean, "spread": loss.spread}
        for epoch, loss in enumerate(result.losses, start=1)
    ]
    return [{name: row.get(name) for name in COLUMNS} for row in [*metrics, *costs, *losses]]


def markdown(sections: list[Section]) -> str:
    """Return the tables as Markdown."""
    parts = [f"# {TITLE}"]
    for section in sections:
        parts += [f"## {section.title}", section.notes]
        for caption, grid in section.grids.items():
            rows = [[name, *(f"**{c.text}**" if c.best else c.text for c in cells)] for name, cells in grid.rows]
            parts += [f"### {caption}", markdown_table(grid.columns, rows)]
    return "\n\n".join(parts) + "\n"


def latex(sections: list[Section]) -> str:
    r"""Return the tables as LaTeX, which needs \usepackage{booktabs}."""
    parts = [r"% \usepackage{booktabs}"]
    for section in sections:
        for caption, grid in section.grids.items():
            head = " & ".join(map(_tex, grid.columns)) + r" \\"
            rows = [" & ".join([_tex(name), *map(_tex_cell, cells)]) + r" \\" for name, cells in grid.rows]
            parts.append(
                "\n".join(
                    [
                        r"\begin{table}",
                        rf"\caption{{{_tex(f'{section.title}. {caption}. {section.notes}')}}}",
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


def html(sections: list[Section], plots: dict[str, str]) -> str:
    """Return one self-contained page with the tables and the plots (SVG by title)."""
    return render_page("gavamoe.experiments", "results.html", title=TITLE, sections=sections, plots=plots)


def _tex(text: str) -> str:
    return "".join(TEX.get(letter, letter) for letter in text)


def _tex_cell(cell: TableCell) -> str:
    return rf"\textbf{{{_tex(cell.text)}}}" if cell.best else _tex(cell.text)


def _file_name(title: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in title.lower()).split())
