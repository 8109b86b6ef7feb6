"""The tables of a comparison as grids of text, which every output format shows."""

from __future__ import annotations

from dataclasses import dataclass, field

from gavamoe.evaluation.comparable import NORMALIZATION, TRUNCATE_WORDS
from gavamoe.evaluation.report import ALL_SHOWN, LABELS, SHOWN, SHOWN_FURTHER, SHOWN_PAIR
from gavamoe.evaluation.score import LOWER_IS_BETTER
from gavamoe.experiments.aggregate import SIGNIFICANCE_LEVEL, MetricSummary, SystemResult, Table

ABSENT = "–"
DIFFERS = "†"
BY_GROUP = ("BLEU-4", "rouge_l/f_score", "RMSE")  # they do not depend on the number of texts
RATINGS_BY_GROUP = ("RMSE", "MAE")
LOSSES = "validation loss in nats a token, rating and feature as given to those that take them"


@dataclass(frozen=True)
class TableCell:
    """A cell of a grid; `best` marks the best value of a column."""

    text: str
    best: bool = False


@dataclass
class Grid:
    """Rows of cells under column names; the first column is the name of the row."""

    columns: list[str]
    rows: list[tuple[str, list[TableCell]]] = field(default_factory=list)


@dataclass
class Section:
    """Everything that is shown of one table.

    Args:
        title: the condition.
        oracle: whether ground truth was in the input, so that the section is set apart.
        notes: how the numbers were computed.
        grids: by caption.
    """

    title: str
    oracle: bool
    notes: str
    grids: dict[str, Grid]


def metrics_by_group(table: Table) -> tuple[str, ...]:
    """Return the metrics that are shown by group of users."""
    return BY_GROUP if table.has_texts else RATINGS_BY_GROUP


def describe_condition(table: Table) -> str:
    """Return what prompts state, in words: the source of rating and feature, and the context if one was chosen.

    Systems without texts get neither as input.
    """
    if not table.has_texts:
        return "ratings"
    condition = table.condition
    context = "" if condition.context is None else f", context {condition.context}"
    return f"rating {condition.rating}, feature {condition.feature}{context}"


def title_of(table: Table) -> str:
    """Return the condition as a title, which says whether it is an oracle."""
    condition = describe_condition(table)
    return f"Oracle: {condition}" if table.condition.oracle else condition


def make_section(table: Table) -> Section:
    """Return all grids of a table that are not empty."""
    seeds = max(result.seeds for result in table.results)
    spread = f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    texts = f" Texts: {NORMALIZATION}, cut at {TRUNCATE_WORDS} words." if table.has_texts else ""
    test = (
        "paired bootstrap; randomisation where distinct things are counted" if table.has_texts else "paired bootstrap"
    )
    notes = (
        f"Split {table.split}, n = {table.n:,}; {spread}.{texts} "
        f"The best is bold. {DIFFERS}: differs from {table.subject}, p < {SIGNIFICANCE_LEVEL:g} in every seed "
        f"({test})."
    )
    if table.condition.oracle:
        notes += " Ground truth was in the input: compare with this table's other lines only."
    grids = {
        "Metrics": metrics_grid(table, SHOWN),
        "The right item and user": with_bounds_rows(metrics_grid(table, SHOWN_PAIR), table),
        "Beyond the field's tables": metrics_grid(table, SHOWN_FURTHER),
        **{
            f"{LABELS.get(metric, metric)} by the user's number of training reviews": groups_grid(table, metric)
            for metric in metrics_by_group(table)
        },
        f"{table.subject} against the best of the others": against_best(table),
        f"What training took; {LOSSES}" if table.has_texts else "What training took": training_grid(table),
        f"By epoch, {LOSSES}": losses_grid(table),
    }
    shown = {name: grid for name, grid in grids.items() if grid.rows}
    return Section(title_of(table), table.condition.oracle, notes, shown)


def metrics_grid(table: Table, shown: dict[str, int]) -> Grid:
    """Return a row per system and a column per metric; `shown` holds the metrics and their decimals.

    The column of what a system was told as input is left out where no system writes texts.
    """
    metrics = [name for name in shown if any(name in result.metrics for result in table.results)]
    told = ["told"] if table.has_texts else []
    grid = Grid(["model", *told, *(f"{LABELS.get(m, m)} {'↓' if m in LOWER_IS_BETTER else '↑'}" for m in metrics)])
    best = {m: _best([r.metrics[m].mean for r in table.results if m in r.metrics], m) for m in metrics}
    for result in table.results:
        if not any(metric in result.metrics for metric in metrics):
            continue
        inputs = ", ".join(f"{field} {source}" for field, source in result.inputs.items()) or ABSENT
        cells = [TableCell(inputs) for _ in told]
        cells += [_metric_cell(result, metric, best[metric], shown[metric]) for metric in metrics]
        grid.rows.append((result.model, cells))
    return grid


def with_bounds_rows(grid: Grid, table: Table) -> Grid:
    """Return a grid of SHOWN_PAIR with two more rows, ceiling and floor, from people's own texts."""
    metrics = [name for name in SHOWN_PAIR if any(name in result.metrics for result in table.results)]
    if not grid.rows or not any(name in table.bounds for name in metrics):
        return grid
    told = [TableCell(ABSENT)] if table.has_texts else []
    for bound in ("ceiling", "floor"):
        values = [getattr(table.bounds.get(name), bound, None) for name in metrics]
        texts = [ABSENT if v is None else f"{v:.{SHOWN_PAIR[n]}f}" for n, v in zip(metrics, values, strict=True)]
        grid.rows.append((f"{bound}, from people's texts", [*told, *map(TableCell, texts)]))
    return grid


def groups_grid(table: Table, metric: str) -> Grid:
    """Return a row per system and a column per group of users: the mean of one metric over the seeds."""
    groups = list(table.results[0].groups)
    known = [result for result in table.results if any(metric in metrics for metrics in result.groups.values())]
    grid = Grid(["model", *groups])
    values = {result.model: [result.groups[group].get(metric) for group in groups] for result in known}
    best = [_best([v for v in column if v is not None], metric) for column in zip(*values.values(), strict=True)]
    decimals = SHOWN[metric]
    for result in known:
        cells = [
            TableCell(ABSENT if value is None else f"{value:.{decimals}f}", value is not None and value == best_value)
            for value, best_value in zip(values[result.model], best, strict=True)
        ]
        grid.rows.append((result.model, cells))
    return grid


def against_best(table: Table) -> Grid:
    """Return a row per metric: the subject, the best of the others, their difference and its p-value."""
    grid = Grid(["metric", table.subject, "best of the others", "its value", "difference", "p"])
    subject = next((result for result in table.results if result.model == table.subject), None)
    for metric, other in table.best_of_others.items():
        if subject is None or metric not in subject.metrics:
            continue
        value, other_value = subject.metrics[metric].mean, other.metrics[metric].mean
        p = other.metrics[metric].p
        decimals = ALL_SHOWN[metric]
        better = value < other_value if metric in LOWER_IS_BETTER else value > other_value
        texts = [
            f"{value:.{decimals}f}",
            other.model,
            f"{other_value:.{decimals}f}",
            f"{value - other_value:+.{decimals}f}",
            ABSENT if p is None else f"{p:.3f}",
        ]
        cells = [TableCell(text, best=better and column == 0) for column, text in enumerate(texts)]
        grid.rows.append((f"{LABELS.get(metric, metric)} {'↓' if metric in LOWER_IS_BETTER else '↑'}", cells))
    return grid


def training_grid(table: Table) -> Grid:
    """Return a row per system: parameters, epochs, seconds, tokens per second, validation loss.

    A column that no system has a value in is left out.
    """
    columns = ["parameters", "epochs", "seconds", "tokens/s", "validation loss"]
    rows = []
    for result in table.results:
        costs = result.training
        speed = costs["tokens"] / costs["seconds"] if costs["tokens"] and costs["seconds"] else None
        values = [
            (costs["parameters"], ",.0f"),
            (costs["epochs"] or None, ".1f"),
            (costs["seconds"], ",.1f"),
            (speed, ",.0f"),
            (costs["valid_loss"], ".3f"),
        ]
        rows.append((result.model, [None if value is None else format(value, form) for value, form in values]))
    kept = [place for place in range(len(columns)) if any(texts[place] is not None for _, texts in rows)]
    grid = Grid(["model", *(columns[place] for place in kept)])
    grid.rows = [(model, [TableCell(texts[place] or ABSENT) for place in kept]) for model, texts in rows]
    return grid


def losses_grid(table: Table) -> Grid:
    """Return a row per system that writes texts, and a column per epoch."""
    writing = [result for result in table.results if result.losses]
    epochs = max((len(result.losses) for result in writing), default=0)
    grid = Grid(["model", *map(str, range(1, epochs + 1))])
    for result in writing:
        lowest = min(loss.mean for loss in result.losses)
        cells = [TableCell(f"{loss.mean:.3f}", loss.mean == lowest) for loss in result.losses]
        grid.rows.append((result.model, cells + [TableCell(ABSENT)] * (epochs - len(cells))))
    return grid


def _metric_cell(result: SystemResult, metric: str, best: float | None, decimals: int) -> TableCell:
    summary: MetricSummary | None = result.metrics.get(metric)
    if summary is None:
        return TableCell(ABSENT)
    spread = f" ± {summary.spread:.{decimals}f}" if summary.spread is not None else ""
    mark = DIFFERS if summary.p is not None and summary.p < SIGNIFICANCE_LEVEL else ""
    return TableCell(f"{summary.mean:.{decimals}f}{spread}{mark}", summary.mean == best)


def _best(values: list[float], metric: str) -> float | None:
    """Return the best value; None where all are equal, so that none is marked."""
    if len(set(values)) < 2:
        return None
    return min(values) if metric in LOWER_IS_BETTER else max(values)
