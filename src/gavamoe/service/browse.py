"""Answers about users, items and recommendations: stage 1 only, so they never wait for the model's worker."""

from __future__ import annotations

from typing import Any

import numpy as np

from gavamoe.preference.history import UserHistory
from gavamoe.service.served_run import ServedRun

HISTORY = 500  # ratings shown of a user
FEATURES = 30  # features shown of an item
# An unknown user gets the best-rated items among this many of the most reviewed.
POPULAR = 100


def find_users(run: ServedRun, prefix: str, limit: int) -> list[dict[str, Any]]:
    """Return users by prefix, most reviews first."""
    rows = run.catalog.users[run.users.find(prefix, limit)]
    return [{"user": row["user"], "reviews": row["n_train"]} for row in rows.iter_rows(named=True)]


def find_items(run: ServedRun, prefix: str, limit: int) -> list[dict[str, Any]]:
    """Return items by prefix of their name or title, most reviews first."""
    rows = run.catalog.items[run.items.find(prefix, limit)]
    return [
        {"item": row["item"], "title": row["title"], "reviews": row["n_train"], "mean_rating": row["mean_rating"]}
        for row in rows.iter_rows(named=True)
    ]


def about_user(run: ServedRun, user: str) -> dict[str, Any]:
    """Return a user's profile; without training reviews, everything in it is empty."""
    catalog = run.catalog
    number = catalog.user_id(user)
    if number == 0:
        return {"user": user, "known": False, "reviews": 0, "mean_rating": None, "clusters": [], "history": []}
    row = catalog.users.row(number - 1, named=True)
    ids = run.pairs["user_id"].to_numpy()
    rated = run.pairs[slice(*np.searchsorted(ids, [number, number + 1]))].sort(
        "rating", descending=True, maintain_order=True
    )
    return {
        "user": user,
        "known": True,
        "reviews": row["n_train"],
        "mean_rating": row["mean_rating"],
        "clusters": run.profile_UK[number].tolist(),
        "history": [
            {"item": catalog.item_names[item], "title": catalog.items["title"][item - 1], "rating": rating}
            for item, rating in rated.select("item_id", "rating").head(HISTORY).iter_rows()
            if item
        ],
    }


def about_item(run: ServedRun, item: str) -> dict[str, Any]:
    """Return an item's profile; without training reviews, everything in it is empty."""
    catalog = run.catalog
    number = catalog.item_id(item)
    if number == 0:
        return {
            "item": item,
            "known": False,
            "title": None,
            "categories": [],
            "description": None,
            "reviews": 0,
            "mean_rating": None,
            "features": [],
            "clusters": [],
        }
    row = catalog.items.row(number - 1, named=True)
    return {
        "item": item,
        "known": True,
        "title": row["title"],
        "categories": row["categories"] or [],
        "description": row["description"],
        "reviews": row["n_train"],
        "mean_rating": row["mean_rating"],
        "features": run.item_features(number).head(FEATURES).to_dicts(),
        "clusters": run.profile_IK[number].tolist(),
    }


def recommend(
    run: ServedRun, user: str, top: int, history: UserHistory | None = None
) -> tuple[list[dict[str, Any]], str | None]:
    """Return items for a user, best first, and a note if there are fewer than requested.

    A history counts instead of the name. An unknown user without one gets popular items; each says why.
    """
    if history is None and run.catalog.user_id(user) == 0:
        items = popular_items(run, top)
    else:
        rows = run.recommender.recommend(user, top, history)
        items = rows.select("item", "title", "rating").to_dicts()
    note = None
    if len(items) < top:
        note = f"{top} items were requested and {len(items)} are left that the user has not reviewed"
    return items, note


def popular_items(run: ServedRun, top: int) -> list[dict[str, Any]]:
    """Return the items with the best mean rating among the most reviewed, as a fallback that says so."""
    catalog = run.catalog
    busiest = run.items.find("", max(POPULAR, top))
    rows = catalog.items[busiest].sort("mean_rating", descending=True, maintain_order=True).head(top)
    why = (
        f"fallback: the run has no training review by this user; the item has one of the best mean ratings among "
        f"the {len(busiest)} most reviewed items"
    )
    return [
        {"item": row["item"], "title": row["title"], "rating": row["mean_rating"], "why": why}
        for row in rows.iter_rows(named=True)
    ]
