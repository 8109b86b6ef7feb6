from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Other work on the machine must not turn a slow example into a failure.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

Row = dict[str, Any]
ASPECTS = ("story", "ending", "music")


@pytest.fixture(autouse=True)
def undrawn_cards(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the card's page, whose plots take longer than preparing a few reviews; `drawn_cards` keeps it."""
    if "drawn_cards" not in request.fixturenames:
        monkeypatch.setattr("gavamoe.data.prepare.write_card_page", lambda directory, card: None)


@pytest.fixture
def drawn_cards() -> None:
    """Ask for the card's page."""


@pytest.fixture
def write_lines(tmp_path: Path) -> Callable[[str, Iterable[Row]], Path]:
    """Write rows as JSON lines under tmp_path; gzip where the name ends with .gz."""

    def write(name: str, rows: Iterable[Row]) -> Path:
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
        path = tmp_path / name
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write


@pytest.fixture
def reviews() -> list[Row]:
    """120 reviews by 12 users of 10 items, each pair once, with ratings 1..5."""
    return [
        {
            "user": f"u{user}",
            "item": f"i{item}",
            "rating": 1 + (user + item) % 5,
            "text": f"u{user}: the {ASPECTS[user % 3]} is great but the {ASPECTS[(user + item) % 3]} was dull",
            "timestamp": 1_500_000_000 + 1000 * (user * 10 + item),
        }
        for user in range(12)
        for item in range(10)
    ]


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """Find a real review file, or skip: such data is not part of the repository."""

    def find(name: str) -> Path:
        beside = Path(__file__).parents[3] / "shared" / "data"
        path = Path(os.environ.get("GAVAMOE_DATA", beside)) / name
        if not path.exists():
            pytest.skip(f"{path} is absent: set GAVAMOE_DATA to a directory that holds {name}")
        return path

    return find
