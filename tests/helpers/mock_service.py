"""A service that answers the page's requests from a small made-up world, without a trained run.

It serves the static page and the HTTP contract of `gavamoe serve`. Tests use it for states that a real run reaches
rarely: a full queue, an answer that breaks off, a slow stream, a text that differs from its draft, a missing key.
Run it by hand to work on the page: `python tests/helpers/mock_service.py --port 8000`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles

STATIC = Path(__file__).parents[2] / "src" / "gavamoe" / "service" / "static"
POLICY = "default-src 'self'"
SCRIPT_USER = "<script>document.title='hacked'</script>"
IMAGE_ITEM = "i99</a><img src=x onerror=\"document.title='hacked'\">"

LAYERS, EXPERTS, TOP_K = 4, 8, 2
SCALE = [1, 2, 3, 4, 5]
CENTRES = [(-2.2, 1.1), (1.9, 1.6), (0.2, -2.0), (3.0, -1.2)]
LIKED = [["story", "dialogue", "ending"], ["music", "photography"], ["humour", "pace"], ["acting", "effects", "story"]]
ADJECTIVES = {5: "superb", 4: "charming", 3: "passable", 2: "thin", 1: "clumsy"}
OPENINGS = {
    5: "one of the best evenings of the year",
    4: "a fine evening",
    3: "it left me undecided",
    2: "not quite for me",
    1: "a waste of an evening",
}
TITLES = [
    "The Long Harbour",
    "Paper Lanterns",
    "North of Winter",
    "A Quiet Engine",
    "Saltwater",
    "The Cartographer's Daughter",
    "Ninth Street",
    "Ordinary Weather",
    "The Understudy",
    "Glass Orchard",
    "Half a Kingdom",
    "Late Trains",
    "The Violin Room",
    "Small Hours",
    "Copper Sun",
    "A House on Fire Island",
    "The Second Witness",
    "Marble",
    "Tomorrow's Bread",
    "The Salt Road",
    "Blue Hour",
    "Kestrel",
    "Letters to Nobody",
    "The Year of the Fox",
    "Undertow",
]
GENRES = ["drama", "comedy", "thriller", "documentary", "romance"]


@dataclass
class Faults:
    """What shall go wrong, set by a test between requests."""

    word_delay: float = 0.01
    delay: float = 0.0  # before any answer
    status: dict[str, int] = field(default_factory=dict)  # path prefix -> status
    break_stream_after: int | None = None  # words
    final_differs: bool = False
    key: str | None = None


class World:
    """Users, items and reviews drawn from a seed."""

    def __init__(self, users: int = 60, items: int = 25, reviews: int = 900, clusters: int = 3, seed: int = 5):
        self.random = random.Random(seed)
        self.clusters = clusters
        self.items = {f"i{n:02d}": TITLES[n % len(TITLES)] for n in range(items)}
        self.items["i07"] = ""  # some sources have no titles
        self.items[IMAGE_ITEM] = "<b>Bold</b> & <i>Brash</i>"
        self.taste = {f"u{n:02d}": n % clusters for n in range(users)} | {SCRIPT_USER: 0}
        self.quality = {item: self.random.uniform(2, 4.6) for item in self.items}
        self.rows: dict[tuple[str, str], int] = {}
        people, things = list(self.taste), list(self.items)
        weights = [1 / (1 + n * 0.05) for n in range(len(people))]
        for _ in range(reviews):
            user, item = self.random.choices(people, weights)[0], self.random.choice(things)
            self.rows[user, item] = round(min(5, max(1, self.random.gauss(self.quality[item], 0.8))))

    def history(self, user: str) -> dict[str, int]:
        return {item: rating for (other, item), rating in self.rows.items() if other == user}

    def raters(self, item: str) -> dict[str, int]:
        return {user: rating for (user, other), rating in self.rows.items() if other == item}

    def shares(self, name: str, cluster: int, sure: float = 0.8) -> list[float]:
        draw = random.Random(name)
        rest = [draw.random() for _ in range(self.clusters)]
        rest[cluster] = 0
        scale = (1 - sure) / max(sum(rest), 1e-9)
        return [sure if k == cluster else value * scale for k, value in enumerate(rest)]

    def cluster(self, user: str, item: str) -> int:
        return self.taste.get(user, random.Random(user + item).randrange(self.clusters))

    def sentence(self, cluster: int, rating: float, feature: str, seed: int = 0) -> str:
        level = min(5, max(1, round(rating)))
        draw = random.Random(f"{cluster}{rating}{feature}{seed}")
        second = draw.choice([word for word in LIKED[cluster] if word != feature] or ["story"])
        joint = "and" if level > 3 else "but" if level == 3 else "above all because"
        return (
            f"{OPENINGS[level]} , {joint} the {feature} is {ADJECTIVES[level]} ; the {second} is "
            f"{draw.choice(['memorable', 'worth the wait', 'what stays with you'])} ."
        )

    def explanation(self, pair: dict[str, Any], evidence: int, seed: int) -> dict[str, Any]:
        user, item = str(pair["user"]), str(pair["item"])
        draw = random.Random(f"{user} {item}")
        cluster = self.cluster(user, item)
        rating = float(pair.get("rating") or min(5, max(1, self.quality.get(item, 3.4) + draw.gauss(0, 0.4))))
        feature = pair.get("feature") or draw.choice(LIKED[cluster])
        weights = [2 ** (-((value - rating) ** 2) * 1.4) for value in SCALE]
        x, y = CENTRES[cluster]
        text = self.sentence(cluster, rating, feature, seed)
        counts = [[0.0] * EXPERTS for _ in range(LAYERS)]
        tokens = self.tokens(text, cluster)
        for token in tokens:
            for layer, chosen in enumerate(token["layers"]):
                for expert in chosen:
                    counts[layer][expert] += 1 / (TOP_K * len(tokens))
        quotes = [
            {
                "user": other,
                "text": self.sentence(self.taste[other], given, draw.choice(LIKED[self.taste[other]]), 1),
                "rating": given,
                "score": round(0.92 - 0.11 * n, 3),
                "parts": {"same taste": 0.95 - 0.1 * n, "same feature": 1.0 if n < 2 else 0.4, "rating": 0.8},
                "feature": draw.choice(LIKED[self.taste[other]]),
                "cluster": self.taste[other],
            }
            for n, (other, given) in enumerate(list(self.raters(item).items())[:evidence])
            if other != user
        ]
        return {
            "user": user,
            "item": item,
            "text": text,
            "rating": rating,
            "cluster": cluster,
            "responsibilities": self.shares(user + item, cluster, 0.9),
            "experts": counts,
            "cold_user": user not in self.taste,
            "cold_item": item not in self.items,
            "finished": True,
            "feature": feature,
            "conditions": {
                "rating": "given" if pair.get("rating") else "predicted",
                "feature": "given" if pair.get("feature") else "predicted",
                "oracle": False,
                "evidence": 1,
            },
            "evidence": quotes,
            "rating_distribution": [
                {"rating": value, "p": weight / sum(weights)} for value, weight in zip(SCALE, weights, strict=True)
            ],
            "map": [x + draw.gauss(0, 0.5), y + draw.gauss(0, 0.5)],
            "source": "model",
        }

    def tokens(self, text: str, cluster: int) -> list[dict[str, Any]]:
        pieces = []
        for word in text.split(" "):
            space = " " if pieces else ""
            cut = len(word) // 2 if len(word) > 7 else len(word)  # a long word is two tokens
            pieces += [space + word[:cut]] + ([word[cut:]] if word[cut:] else [])
        return [
            {
                "text": piece,
                "layers": [
                    random.Random(f"{piece.strip()}{layer}{cluster}").sample(range(EXPERTS), TOP_K)
                    for layer in range(LAYERS)
                ],
            }
            for piece in pieces
        ]


def create_app(world: World | None = None, faults: Faults | None = None) -> FastAPI:
    """Return the service over `world`; `faults` may be changed while it runs."""
    world, faults = world or World(), faults or Faults()
    app = FastAPI()
    app.state.faults, app.state.feedback = faults, []

    @app.middleware("http")
    async def misbehave(request: Request, call_next: Any) -> Response:
        path = request.url.path
        api = path.startswith("/v1")
        if api and faults.delay:
            await asyncio.sleep(faults.delay)
        for prefix, status in faults.status.items():
            if path.startswith(prefix):
                return JSONResponse({"error": f"the mock answers {status}"}, status, headers={"Retry-After": "3"})
        if api and faults.key and request.headers.get("authorization") != f"Bearer {faults.key}":
            return JSONResponse({"error": "this service needs an API key"}, 401)
        response: Response = await call_next(request)
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Cache-Control"] = "no-cache"
        return response

    _profiles(app, world)
    _answers(app, world, faults)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.get("/")(lambda: FileResponse(STATIC / "index.html"))
    return app


def _mean(values: Any) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None


def _profiles(app: FastAPI, world: World) -> None:
    @app.get("/v1/run")
    def run() -> Any:
        return {
            "name": "mock",
            "users": len(world.taste),
            "items": len(world.items),
            "reviews": len(world.rows),
            "clusters": world.clusters,
            "texts": True,
            "layers": LAYERS,
            "experts": EXPERTS,
            "top_k": TOP_K,
            "scale": SCALE,
            "conditions": {"rating": "predicted", "feature": "predicted", "evidence": 1},
            "features": sorted({word for words in LIKED for word in words}),
        }

    @app.get("/v1/users")
    def users(prefix: str = "", limit: int = 20) -> Any:
        found = [
            {"user": user, "reviews": len(world.history(user))}
            for user in world.taste
            if user.lower().startswith(prefix.lower())
        ]
        return {"users": sorted(found, key=lambda row: -row["reviews"])[:limit]}

    def item_row(item: str) -> dict[str, Any]:
        ratings = world.raters(item).values()
        return {
            "item": item,
            "title": world.items.get(item, ""),
            "reviews": len(ratings),
            "mean_rating": _mean(ratings),
        }

    @app.get("/v1/items")
    def items(prefix: str = "", limit: int = 20) -> Any:
        low = prefix.lower()
        found = [
            item_row(item)
            for item, title in world.items.items()
            if item.startswith(low) or title.lower().startswith(low)
        ]
        return {"items": sorted(found, key=lambda row: -row["reviews"])[:limit]}

    @app.get("/v1/users/{user:path}")
    def user(user: str) -> Any:
        history, known = world.history(user), user in world.taste
        return {
            "user": user,
            "known": known,
            "reviews": len(history),
            "mean_rating": _mean(history.values()),
            "clusters": world.shares(user, world.taste[user]) if known else [],
            "history": [{"item": i, "title": world.items[i], "rating": r} for i, r in history.items()],
        }

    @app.get("/v1/items/{item:path}")
    def item(item: str) -> Any:
        known = item in world.items
        draw = random.Random(item)
        features = draw.sample(sorted({word for words in LIKED for word in words}), 6)
        return item_row(item) | {
            "known": known,
            "categories": draw.sample(GENRES, 2) if known else [],
            "description": "A stranger arrives in a town where everybody keeps the same secret." if known else "",
            "features": [{"feature": word, "count": 12 - 2 * n} for n, word in enumerate(features)] if known else [],
            "clusters": world.shares(item, draw.randrange(world.clusters), 0.5) if known else [],
        }

    def clusters() -> list[dict[str, Any]]:
        found = []
        for k in range(world.clusters):
            rows = [rating for (user, _), rating in world.rows.items() if world.taste[user] == k]
            typical = [user for user, taste in world.taste.items() if taste == k]
            found.append(
                {
                    "cluster": k,
                    "pairs": len(rows),
                    "users": len(typical),
                    "share": len(rows) / len(world.rows),
                    "rating": _mean(rows) or 0,
                    "above": (-0.18, 0.34, -0.05, 0.1)[k % 4],
                    "genres": [GENRES[k]],
                    "features": LIKED[k],
                    "likes": [GENRES[k]],
                    "dislikes": [GENRES[(k + 2) % 5]],
                    "typical_users": typical[:5],
                    "words": [
                        {"word": word, "log_odds": 3.1 - 0.4 * n}
                        for n, word in enumerate([*LIKED[k], "evening", "fine"])
                    ],
                    "length": 14.2 + 2 * k,
                }
            )
        return found

    app.get("/v1/clusters")(lambda: {"clusters": clusters()})
    app.get("/v1/clusters/{k}")(lambda k: clusters()[int(k)])

    @app.get("/v1/map")
    def latent_map() -> Any:
        draw = random.Random(1)
        points = [
            {"x": draw.gauss(CENTRES[k][0], 0.55), "y": draw.gauss(CENTRES[k][1], 0.5), "cluster": k}
            for user, _ in world.rows
            for k in [world.taste[user]]
        ]
        return {"points": points[:2000], "method": "linear discriminant plane"}


def _answers(app: FastAPI, world: World, faults: Faults) -> None:
    @app.post("/v1/explain")
    async def explain(request: Request) -> Any:
        body = await request.json()
        found = [world.explanation(pair, body.get("evidence", 3), body.get("seed", 0)) for pair in body["pairs"]]
        return {"explanations": found, "run": "mock"}

    @app.post("/v1/explain/stream")
    async def stream(request: Request) -> Any:
        body = await request.json()
        answer = world.explanation(body["pairs"][0], body.get("evidence", 3), body.get("seed", 0))

        async def events() -> Any:
            for n, word in enumerate(answer["text"].split(" ")):
                if n == faults.break_stream_after:
                    yield f"event: error\ndata: {json.dumps({'error': 'the generation stopped: out of memory'})}\n\n"
                    return
                yield f"event: word\ndata: {json.dumps({'text': (' ' if n else '') + word})}\n\n"
                await asyncio.sleep(faults.word_delay)
            if faults.final_differs:
                answer["text"] = "the final text is another draft ."
            yield f"event: explanation\ndata: {json.dumps(answer)}\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    @app.post("/v1/experts")
    async def experts(request: Request) -> Any:
        body = await request.json()
        cluster = world.cluster(body["user"], body["item"])
        return {"tokens": world.tokens(body["text"], cluster), "layers": LAYERS, "experts": EXPERTS}

    @app.post("/v1/recommend")
    async def recommend(request: Request) -> Any:
        body = await request.json()
        user = body.get("user", "")
        unrated = [item for item in world.items if (user, item) not in world.rows]
        best = sorted(unrated, key=lambda item: -world.quality[item])[: body.get("top", 10)]
        return {
            "user": user,
            "items": [
                {
                    "item": item,
                    "title": world.items[item],
                    "rating": round(world.quality[item], 2),
                    "cluster": world.cluster(user, item),
                    **(
                        {} if user in world.taste else {"why": "the user is unknown: items ranked by their mean rating"}
                    ),
                }
                for item in best
            ],
        }

    @app.post("/v1/feedback")
    async def feedback(request: Request) -> Any:
        app.state.feedback.append(await request.json())
        return {"kept": True}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--clusters", type=int, default=3)
    parsed = parser.parse_args()
    uvicorn.run(create_app(World(clusters=parsed.clusters)), port=parsed.port, log_level="warning")
