"""Find the records inside JSON documents: wrapped lists, columns, split tables, and records by key.

{"data": {"reviews": [{...}, {...}]}}         a list inside, at the path data.reviews
{"user": {"0": ..}, "rating": {"0": ..}}      columns by row, as pandas.to_json writes them
{"user": [..], "rating": [..]}                columns as lists
{"columns": [..], "data": [[..], [..]]}       a split table
{"r1": {...}, "r2": {...}}                    records by key
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gavamoe.data.readers.headers import SYNONYMS, pick
from gavamoe.data.readers.reading import shorten_list, shortened
from gavamoe.errors import DataError

ROLES = ("user", "item", "rating", "text")
DEEPEST = 6
INSPECTED = 50

Record = dict[str, Any]


def find_records(document: Any, path: str | None, place: str) -> tuple[list[Record], str]:
    """Return the records of a document, and the path where they are ("" for the document itself).

    Args:
        document: a JSON value.
        path: the names that lead to the records, joined with dots, as the user gives them; None to search.
        place: the file, for messages.

    Raises:
        DataError: there are no records at the path, or none anywhere.
    """
    if path is not None:
        return records_at(document, path, place), path
    candidates = dict(_candidates(document, ""))
    if not candidates:
        raise DataError(
            f"{place} is one JSON value without a list of objects: expected one object a line, an array of objects, or "
            "an object with such a list"
        )
    best = max(candidates, key=lambda found: (_likeness(candidates[found]), len(candidates[found]), -len(found)))
    return candidates[best], best


def records_at(document: Any, path: str, place: str) -> list[Record]:
    """Return the records at a path of a document; what stands beside the path is added to each.

    Raises:
        DataError: there are none.
    """
    records = records_in(document, path)
    if not records:
        names = shorten_list(name for name, _ in _candidates(document, "") if name)
        raise DataError(
            f"{place} has no list of objects at {shortened(path, 80)!r}"
            + (f"; there are lists at {names}" if names else "; it has no list of objects")
        )
    return records


def records_in(document: Any, path: str) -> list[Record]:
    """Return the records at a path of a document, with what stands beside the path; [] if there are none."""
    parts = [part for part in path.strip("$").replace("[]", "").replace("[*]", "").split(".") if part]
    found = _flatten(document, parts)
    records = (_table(found) or [found]) if isinstance(found, dict) else found
    return records if _is_list(records) else []


def is_empty(value: Record) -> bool:
    """Return whether an object is a document whose list of reviews is empty."""
    return any(inner == [] for inner in value.values()) and not _likeness([value])


def is_record(value: Record) -> bool:
    """Return whether a lone object is a review by itself, rather than a document that holds reviews."""
    if _table(value):
        return False
    candidates = dict(_candidates(value, ""))
    return bool(candidates) and max(candidates, key=lambda name: (_likeness(candidates[name]), name == "")) == ""


def _candidates(value: Any, path: str, depth: int = 0) -> Iterator[tuple[str, list[Record]]]:
    """Yield (path, records) for each part of a document that may be the records."""
    if depth > DEEPEST or not isinstance(value, dict | list):
        return
    if isinstance(value, list):
        if _is_list(value):
            yield path, value
        return
    table = _table(value)
    if table:
        yield path, table
    elif depth == 0:
        yield path, [value]
    for name, inner in value.items():
        inner_path = f"{path}.{name}" if path else name
        if isinstance(inner, dict):
            for found, records in _candidates(inner, inner_path, depth + 1):
                yield found, [_with_shared(record, value, name) for record in records]
        elif isinstance(inner, list) and any(isinstance(element, dict) for element in inner[:INSPECTED]):
            yield inner_path, [_with_shared(element, value, name) for element in inner]
            objects = [element for element in inner[:INSPECTED] if isinstance(element, dict)]
            lists = {key for element in objects for key, item in element.items() if _is_list(item)}
            for key in sorted(lists):
                yield f"{inner_path}.{key}", _flatten(value, [name, key])


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_list(value: Any) -> bool:
    """Return whether a value is a list of objects; others among them are bad lines."""
    return isinstance(value, list) and any(isinstance(element, dict) for element in value[:INSPECTED])


def _flatten(value: Any, parts: list[str]) -> Any:
    """Follow the names of a path through objects and lists; objects on the way give their fields to those below."""
    if isinstance(value, list):
        if not parts:
            return value
        return [record for element in value for record in _as_list(_flatten(element, parts))]
    if not parts or not isinstance(value, dict):
        return value if not parts else []
    below = _flatten(value.get(parts[0], []), parts[1:])
    if isinstance(below, dict):
        below = _table(below) or [below]
    return [_with_shared(record, value, parts[0]) for record in _as_list(below)]


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _with_shared(record: Any, parent: Record, name: str) -> Any:
    """Add the plain fields and objects of a parent to a record, which keeps its own."""
    if not isinstance(record, dict):
        return record
    shared = {key: value for key, value in parent.items() if key != name and not isinstance(value, list)}
    return {**shared, **record}


def _table(value: Record) -> list[Record] | None:
    """Return the rows of an object that is a table by columns, or of records by key; None if it is neither."""
    columns, data = value.get("columns"), value.get("data")
    if isinstance(columns, list) and isinstance(data, list) and data and all(isinstance(row, list) for row in data):
        return [dict(zip(map(str, columns), row, strict=False)) for row in data]
    if len(value) > 1 and all(isinstance(column, list) for column in value.values()):
        lengths = {len(column) for column in value.values()}
        if len(lengths) == 1 and not any(map(_is_list, value.values())):
            return [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]
    if len(value) < 2 or not all(isinstance(column, dict) and column for column in value.values()):
        return None
    outer, inner = list(value), list(dict.fromkeys(key for column in value.values() for key in column))
    if count_roles(outer) >= count_roles(inner[:200]) and count_roles(outer):
        return [{name: column.get(key) for name, column in value.items()} for key in inner]
    return list(value.values()) if count_roles(inner[:200]) else None


def count_roles(names: list[str]) -> int:
    """Return how many of user, item, rating and text have a column among these names."""
    return sum(pick(names, SYNONYMS[role]) is not None for role in ROLES)


def _likeness(records: list[Record]) -> int:
    """Return how much records look like reviews."""
    names: dict[str, None] = {}
    for record in filter(_is_object, records[:INSPECTED]):
        for name, value in record.items():
            names[name] = None
            if isinstance(value, dict):
                names.update(dict.fromkeys(f"{name}.{inner}" for inner in value))
    return count_roles(list(names))
