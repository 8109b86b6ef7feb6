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
    places = [list(group) for _, group in groupby(range(len(ingested.sources)), lambda n: _file(ingested.sources[n]))]
    options = [(_file(ingested.sources[group[0]]), ingested.sources[group[0]].options) for group in places]
    task = ray.remote(num_returns="streaming", _generator_backpressure_num_objects=BATCHES_AHEAD)(read_file)
    started = start_ahead(lambda given: task.remote(*given, ingested.bad.allowed), options)
    for group, results in zip(places, started, strict=True):
        anonymous = ingested.stats.anonymous
        for result in map(ray.get, results):
            if isinstance(result, FileReport):
                _add_report(ingested, group, result)
            else:
                table, batch = result
                yield group[table], renumber_anonymous(batch, anonymous)


def read_file(file: Path, options: ReadOptions, allowed: int | None) -> Iterator[tuple[int, pl.DataFrame] | FileReport]:
    """Yield the number of a table of a file and a batch of its reviews, and at last the file's report.

    Args:
        file: in any known format, also an archive with several tables.
        options: how to read it.
        allowed: how many lines may be dropped.
    """
    bad, stats, sources = RecordedLines(allowed), ReadStats(), list[ReviewSource]()
    error = None
    try:
        sources = open_sources([file], options, RecordedLines(allowed)).reviews
        for table, source in enumerate(sources):
            for batch in source.reviews(bad, stats):
                if not batch.is_empty():
                    yield table, batch.with_columns(count_words(batch["text"]))
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


def _file(source: ReviewSource) -> Path:
    """Return the file of a source, which has its path, or is the archive in it.

    Raises:
        DataError: The source is no file that another process can read.
    """
    path = source.reader.path
    found = next((part for part in (path, *path.parents) if part.is_file()), None)
    if found is None:
        raise DataError(f"{path}: --engine ray reads files; write it to a file first")
    return found.absolute()


def _add_report(ingested: Ingested, places: list[int], report: FileReport) -> None:
    """Add what a task reports about its file to what is known, as if the file had been read here."""
    ingested.stats.add(report.stats)
    for arguments in report.bad:
        ingested.bad.report(*arguments)
    if report.error is not None:
        raise report.error
    for place, reading in zip(places, report.readings, strict=True):
        source = ingested.sources[place]
        reader: Any = FinishedReader(source.reader.path, source.reader.columns, reading)
        ingested.sources[place] = replace(source, reader=reader)
