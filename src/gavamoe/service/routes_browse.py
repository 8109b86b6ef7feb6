"""Routes that read: the run, its users, items and clusters, and the map of its latent space."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from gavamoe.diagnostics.latent_map import DECIMALS
from gavamoe.service.browse import about_item, about_user, find_items, find_users
from gavamoe.service.dependencies import ERRORS, RunNow
from gavamoe.service.plans import RefusedError
from gavamoe.service.schemas import (
    LONGEST_NAME,
    ClusterAnswer,
    ClustersAnswer,
    ErrorAnswer,
    ItemAnswer,
    ItemsAnswer,
    MapAnswer,
    Name,
    RunAnswer,
    UserAnswer,
    UsersAnswer,
)

browse = APIRouter(
    prefix="/v1", responses={status: ERRORS[status] for status in (401, 403, 422, 500)}, tags=["the run"]
)

Prefix = Annotated[str, Query(max_length=LONGEST_NAME, description="Empty for the most reviewed.")]
Limit = Annotated[int, Query(ge=1, le=200)]
NameInPath = Annotated[Name, Path()]


@browse.get("/run", response_model=RunAnswer)
def run(run: RunNow) -> Any:
    """Return what is served."""
    return run.about()


@browse.get("/users", response_model=UsersAnswer)
def users(run: RunNow, prefix: Prefix = "", limit: Limit = 20) -> Any:
    """Search users by the beginning of their name."""
    return {"users": find_users(run, prefix, limit)}


@browse.get("/items", response_model=ItemsAnswer)
def items(run: RunNow, prefix: Prefix = "", limit: Limit = 20) -> Any:
    """Search items by the beginning of their name or title."""
    return {"items": find_items(run, prefix, limit)}


@browse.get("/users/{user:path}", response_model=UserAnswer)
def user(run: RunNow, user: NameInPath) -> Any:
    """Return a user's profile, mixture of clusters and history."""
    return about_user(run, user)


@browse.get("/items/{item:path}", response_model=ItemAnswer)
def item(run: RunNow, item: NameInPath) -> Any:
    """Return an item's description, features and mixture of clusters."""
    return about_item(run, item)


@browse.get("/clusters", response_model=ClustersAnswer)
def clusters(run: RunNow) -> Any:
    """Return all clusters: who they are, what they like and how they write."""
    return {"clusters": run.clusters}


@browse.get("/clusters/{number}", response_model=ClusterAnswer, responses={404: {"model": ErrorAnswer}})
def cluster(run: RunNow, number: Annotated[int, Path(ge=0, le=10_000)]) -> Any:
    """Return one cluster."""
    for each in run.clusters:
        if each["cluster"] == number:
            return each
    raise RefusedError(404, f"there is no cluster {number} with a training pair")


@browse.get("/map", response_model=MapAnswer)
def latent_map(run: RunNow) -> Any:
    """Return training pairs in a plane in which the clusters can be seen."""
    points = run.map.points.round(DECIMALS).tolist()
    clusters = run.map.clusters.tolist()
    pairs = zip(points, clusters, strict=True)
    return {"points": [{"x": x, "y": y, "cluster": cluster} for (x, y), cluster in pairs], "method": run.map.method}
