"""A comparison as grids of text: what every format of the results shows."""

from __future__ import annotations

from dataclasses import dataclass, field

from gavamoe.evaluation.comparable import NORMALIZATION, TRUNCATE_WORDS
from gavamoe.evaluation.report import LABELS, SHOWN, SHOWN_FURTHER
from gavamoe.evaluation.score import LOWER_IS_BETTER
from gavamoe.experiments.aggregate import LEVEL, MetricSummary, SystemResult, Table

ABSENT = "–"
DIFFERS = "†"
BY_GROUP = ("BLEU-4", "rouge_l/f_score", "RMSE")  # they do not depend on how many texts there are
LOSSES = "validation loss in nats a token, rating and feature as given to those that take them"


@dataclass(frozen=True)
class TableCell:
    """A field of a grid; `best` of its column."""

    text: str
    best: bool = False


@dataclass
class Grid:
    """Rows of entries under columns; the first column names the row."""

    columns: list[str]
    rows: list[tuple[str, list[TableCell]]] = field(default_factory=list)


@dataclass
class Section:
    """What is shown of one table. `oracle`: ground truth was in the input, so it stands apart."""

    title: str
    oracle: bool
    notes: str
    grids: dict[str, Grid]


def title_of(table: Table) -> str:
    """What its systems may have been told; an oracle is called one."""
    told = f"rating {table.condition.rating}, feature {table.condition.feature}"
    return f"Oracle: {told}" if table.condition.oracle else told


def section(table: Table) -> Section:
    """All grids of a table."""
    seeds = max(line.seeds for line in table.lines)
    spread = f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    notes = (
        f"Split {table.split}, n = {table.n:,}; {spread}. Texts: {NORMALIZATION}, cut at {TRUNCATE_WORDS} words. "
        f"The best is bold. {DIFFERS}: differs from {table.subject}, p < {LEVEL:g} in every seed (paired bootstrap; "
        "randomisation where distinct things are counted)."
    )
    if table.condition.oracle:
        notes += " Ground truth was in the input: compare with this table's other lines only."
    grids = {
        "Metrics": metrics_grid(table, SHOWN),
        "Beyond the field's tables": metrics_grid(table, SHOWN_FURTHER),
        **{
            f"{LABELS.get(metric, metric)} by the user's number of training reviews": groups_grid(table, metric)
            for metric in BY_GROUP
        },
        f"{table.subject} against the best of the others": against_best(table),
        f"What training took; {LOSSES}": training_grid(table),
        f"By epoch, {LOSSES}": losses_grid(table),
    }
    shown = {name: grid for name, grid in grids.items() if grid.rows}
    return Section(title_of(table), table.condition.oracle, notes, shown)


def metrics_grid(table: Table, shown: dict[str, int]) -> Grid:
    """A line a system that has any of the metrics, a column a metric; `shown`: metrics and their decimals."""
    metrics = [name for name in shown if any(name in line.figures for line in table.lines)]
    grid = Grid(["model", "told", *(f"{LABELS.get(m, m)} {'↓' if m in LOWER_IS_BETTER else '↑'}" for m in metrics)])
    best = {m: _best([line.figures[m].mean for line in table.lines if m in line.figures], m) for m in metrics}
    for line in table.lines:
        if not any(metric in line.figures for metric in metrics):
            continue
        entries = [TableCell(", ".join(f"{fact} {source}" for fact, source in line.told.items()) or ABSENT)]
        entries += [_figure(line, metric, best[metric], shown[metric]) for metric in metrics]
        grid.rows.append((line.model, entries))
    return grid


def groups_grid(table: Table, metric: str) -> Grid:
    """A line a system, a column a group of users: one metric, the mean over seeds."""
    groups = list(table.lines[0].groups)
    known = [line for line in table.lines if any(metric in of_group for of_group in line.groups.values())]
    grid = Grid(["model", *groups])
    values = {line.model: [line.groups[group].get(metric) for group in groups] for line in known}
    best = [_best([v for v in column if v is not None], metric) for column in zip(*values.values(), strict=True)]
    shown = SHOWN[metric]
    for line in known:
        entries = [
            TableCell(ABSENT if value is None else f"{value:.{shown}f}", value is not None and value == least)
            for value, least in zip(values[line.model], best, strict=True)
        ]
        grid.rows.append((line.model, entries))
    return grid


def against_best(table: Table) -> Grid:
    """A line a metric: ours, the best of the others, the difference and whether it holds."""
    grid = Grid(["metric", table.subject, "best of the others", "its value", "difference", "p"])
    ours = next((line for line in table.lines if line.model == table.subject), None)
    for metric, other in table.best.items():
        if ours is None or metric not in ours.figures:
            continue
        own, theirs = ours.figures[metric].mean, other.figures[metric].mean
        p = other.figures[metric].p
        shown = {**SHOWN, **SHOWN_FURTHER}[metric]
        better = own < theirs if metric in LOWER_IS_BETTER else own > theirs
        texts = [
            f"{own:.{shown}f}",
            other.model,
            f"{theirs:.{shown}f}",
            f"{own - theirs:+.{shown}f}",
            ABSENT if p is None else f"{p:.3f}",
        ]
        entries = [TableCell(text, best=better and place == 0) for place, text in enumerate(texts)]
        grid.rows.append((f"{LABELS.get(metric, metric)} {'↓' if metric in LOWER_IS_BETTER else '↑'}", entries))
    return grid


def training_grid(table: Table) -> Grid:
    """A line a system: parameters, epochs, seconds, tokens a second, loss."""
    columns = ["model", "parameters", "epochs", "seconds", "tokens/s", "validation loss"]
    grid = Grid(columns)
    for line in table.lines:
        took = line.training
        speed = took["tokens"] / took["seconds"] if took["tokens"] and took["seconds"] else None
        values = [
            (took["parameters"], ",.0f"),
            (took["epochs"] or None, ".1f"),
            (took["seconds"], ",.1f"),
            (speed, ",.0f"),
            (took["valid_loss"], ".3f"),
        ]
        grid.rows.append((line.model, [TableCell(ABSENT if v is None else format(v, form)) for v, form in values]))
    return grid


def losses_grid(table: Table) -> Grid:
    """A line a system that writes, a column an epoch."""
    written = [line for line in table.lines if line.losses]
    epochs = max((len(line.losses) for line in written), default=0)
    grid = Grid(["model", *map(str, range(1, epochs + 1))])
    for line in written:
        least = min(loss.mean for loss in line.losses)
        entries = [TableCell(f"{loss.mean:.3f}", loss.mean == least) for loss in line.losses]
        grid.rows.append((line.model, entries + [TableCell(ABSENT)] * (epochs - len(entries))))
    return grid


def _figure(line: SystemResult, metric: str, best: float | None, decimals: int) -> TableCell:
    figure: MetricSummary | None = line.figures.get(metric)
    if figure is None:
        return TableCell(ABSENT)
    spread = f" ± {figure.spread:.{decimals}f}" if figure.spread is not None else ""
    mark = DIFFERS if figure.p is not None and figure.p < LEVEL else ""
    return TableCell(f"{figure.mean:.{decimals}f}{spread}{mark}", figure.mean == best)


def _best(values: list[float], metric: str) -> float | None:
    if len(set(values)) < 2:
        return None
    return min(values) if metric in LOWER_IS_BETTER else max(values)
