"""Prepare on a Ray cluster: a task reads each source file, and a task annotates each part of the reviews.

    file --read_file--> batches of reviews, then a FileReport --> parts, in the order of the files
    part --annotate_part--> part with features                --> interactions, in their order

The caller writes all files, and decides about ids and splits. A task that Ray repeats after the loss of a worker gives
the same batches. Every machine needs this package, and the sources under the same paths.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl

from gavamoe.data.prepare.annotate import FeatureAnnotator
from gavamoe.data.prepare.ingest import Ingested
from gavamoe.data.prepare.pipeline import PrepareEngine
from gavamoe.data.readers.canonical import ReadStats, renumber_anonymous
from gavamoe.data.readers.open import ReadOptions, ReviewSource, open_sources
from gavamoe.data.readers.reading import Reading
from gavamoe.data.readers.rows import BadLines
from gavamoe.errors import DataError, InputError
from gavamoe.features.cleaning import count_words
from gavamoe.ray_cluster import connected_to_ray, ray, start_ahead

BATCHES_AHEAD = 4  # of a file that wait for the caller before its task pauses


@dataclass
class RecordedLines(BadLines):
    """Bad lines that are recorded too, so that the caller can report them in the order of the files.

    Attributes:
        recorded: the arguments of each report.
    """

    recorded: list[tuple[Path, int, str, str]] = field(default_factory=list)

    def report(self, path: Path, line: int, problem: str, remedy: str = "") -> None:
        """Record a line, and count it as dropped."""
        self.recorded.append((path, line, problem, remedy))
        super().report(path, line, problem, remedy)


@dataclass(frozen=True)
class FileBatch:
    """A batch of reviews of a file.

    Args:
        table: number of the table in the file.
        reviews: with `words`.
        first_anonymous: number of the first anonymous user of the batch, counted over the file.
        last_anonymous: number of the last one; smaller if there is none.
    """

    table: int
    reviews: pl.DataFrame
    first_anonymous: int
    last_anonymous: int


@dataclass
class FileReport:
    """What is known about a file once it is read.

    Attributes:
        stats: counts of its rows.
        bad: its unusable lines.
        readings: how each of its tables was read.
        error: why reading stopped; None if the file was read to its end.
    """

    stats: ReadStats
    bad: list[tuple[Path, int, str, str]]
    readings: list[Reading]
    error: InputError | None = None


@dataclass(frozen=True)
class FinishedReader:
    """A reader whose rows were read elsewhere.

    Args:
        path: as `RowReader` has it.
        columns: of the file.
        reading: how the file was read.
    """

    path: Path
    columns: list[str]
    reading: Reading

    def batches(self, wanted: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield nothing: the rows have been read."""
        return iter(())


def ray_engine() -> PrepareEngine:
    """Return an engine that works on the cluster of RAY_ADDRESS, or on all processors of this machine.

    `on_ray` must be open while it works.
    """
    return PrepareEngine(read_on_ray, annotate_on_ray)


@contextmanager
def on_ray() -> Iterator[PrepareEngine]:
    """Connect to the cluster while the block runs, and return its engine.

    Raises:
        RunError: The cluster cannot be reached or failed.
    """
    with connected_to_ray("nothing was written"):
        yield ray_engine()


def read_on_ray(ingested: Ingested) -> Iterator[tuple[int, pl.DataFrame]]:
    """Read a file per task (`ReadParts`)."""
    numbered = enumerate(ingested.sources)
    places = {given: [n for n, _ in group] for given, group in groupby(numbered, lambda each: each[1].given)}
    for given in places:
        if not any(part.is_file() for part in (given, *given.parents)) or given.is_relative_to("/dev"):
            raise DataError(f"{given}: --engine ray reads files; write it to a file first")
    task = ray.remote(num_returns="streaming", _generator_backpressure_num_objects=BATCHES_AHEAD)(read_file)

    def start(given: Path) -> Any:
        options = ingested.sources[places[given][0]].options
        index = None if options.index is None else options.index.absolute()
        return task.remote(given.absolute(), replace(options, index=index), ingested.bad.allowed)

    for given, results in zip(places, start_ahead(start, places), strict=True):
        before = ingested.stats.anonymous
        for result in map(ray.get, results):
            if isinstance(result, FileReport):
                _add_report(ingested, given, places[given], result)
            else:
                batch = renumber_anonymous(result.reviews, result.first_anonymous, result.last_anonymous, before)
                yield places[given][result.table], batch


def read_file(file: Path, options: ReadOptions, allowed: int | None) -> Iterator[FileBatch | FileReport]:
    """Yield the batches of a file, and at last the file's report.

    Args:
        file: in any known format, also an archive with several tables, or one of its tables.
        options: how to read it.
        allowed: how many lines may be dropped.
    """
    bad, stats, sources = RecordedLines(allowed), ReadStats(), list[ReviewSource]()
    error = None
    try:
        sources = open_sources([file], options, bad).reviews
        for table, source in enumerate(sources):
            anonymous = stats.anonymous
            for reviews in source.reviews(bad, stats):
                if not reviews.is_empty():
                    reviews = reviews.with_columns(count_words(reviews["text"]))
                    yield FileBatch(table, reviews, anonymous + 1, stats.anonymous)
                anonymous = stats.anonymous
    except InputError as raised:  # Ray would hide it in a traceback
        error = raised
    yield FileReport(stats, bad.recorded, [source.reader.reading for source in sources], error)


def annotate_on_ray(features: FeatureAnnotator, parts: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Annotate a part per task."""
    shared, task = ray.put(features), ray.remote(annotate_part)
    yield from map(ray.get, start_ahead(lambda part: task.remote(shared, part), parts))


def annotate_part(features: FeatureAnnotator, part: pl.DataFrame) -> pl.DataFrame:
    """Return a part with features."""
    return features.apply(part.lazy()).collect()


def _add_report(ingested: Ingested, given: Path, places: list[int], report: FileReport) -> None:
    """Add what a task reports about its file to what is known, as if the file had been read here.

    Args:
        ingested: what is known.
        given: the file as the caller names it; the task was given its absolute path.
        places: positions of the file's tables among the sources.
        report: what the task reports.
    """
    absolute = str(given.absolute())
    report.stats.first_unparsed_time = report.stats.first_unparsed_time.replace(absolute, str(given))
    ingested.stats.add(report.stats)
    for path, line, problem, remedy in report.bad:
        ingested.bad.report(Path(str(path).replace(absolute, str(given))), line, problem, remedy)
    if report.error is not None:
        raise DataError(str(report.error).replace(absolute, str(given)))
    for place, reading in zip(places, report.readings, strict=True):
        source = ingested.sources[place]
        reader: Any = FinishedReader(source.reader.path, source.reader.columns, reading)
        ingested.sources[place] = replace(source, reader=reader)
