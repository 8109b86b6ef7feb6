"""Fixtures of the tests of data and features."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def undrawn_cards(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the card's page, whose plots take longer than preparing a few reviews; `drawn_cards` keeps it."""
    if "drawn_cards" not in request.fixturenames:
        monkeypatch.setattr("gavamoe.data.prepare.prepare.write_card_page", lambda directory, card: None)


@pytest.fixture
def drawn_cards() -> None:
    """Ask for the card's page."""
