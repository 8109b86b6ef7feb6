"""Fixtures of the data tests."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def skip_card_page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip card.md and its plots, which take longer than preparing a few reviews; `with_card_page` keeps them."""
    if "with_card_page" not in request.fixturenames:
        monkeypatch.setattr("gavamoe.data.prepare.pipeline.write_card_page", lambda directory, card: None)


@pytest.fixture
def with_card_page() -> None:
    """Request card.md and its plots."""
