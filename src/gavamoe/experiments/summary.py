"""A comparison as one JSON object."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gavamoe.experiments.aggregate import Table


def to_dict(tables: list[Table], out: Path) -> dict[str, Any]:
    """Where the results lie, and every figure."""
    return {
        "out": str(out),
        "tables": [
            {
                "conditions": {
                    "rating": t.condition.rating,
                    "feature": t.condition.feature,
                    "oracle": t.condition.oracle,
                },
                "split": t.split,
                "n": t.n,
                "subject": t.subject,
                "best_of_others": {metric: line.model for metric, line in t.best.items()},
                "models": {
                    line.model: {
                        "seeds": line.seeds,
                        "told": line.told,
                        "metrics": {
                            name: {"mean": f.mean, "spread": f.spread, "p": f.p} for name, f in line.figures.items()
                        },
                        "training": line.training,
                    }
                    for line in t.lines
                },
            }
            for t in tables
        ],
    }
