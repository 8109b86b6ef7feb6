"""The model card of a run: README.md, so that a copied run directory explains itself."""

from __future__ import annotations

from pathlib import Path

from gavamoe.data.dataset import ReviewDataset
from gavamoe.files import staged_file
from gavamoe.run import RunCard, RunDirectory

TEXT = """\
---
library_name: gavamoe
tags: [recommendation, explanation, mixture-of-experts]
---
# An explainer of recommendations

Trained with `gavamoe train` (preset `{preset}`, {base}, seed {seed}) on {reviews:,} reviews by {users:,} users of
{items:,} items; ratings {low:g} to {high:g} in {levels} levels.

```python
from gavamoe import Explainer

explainer = Explainer.from_pretrained("path/to/this/directory")
print(explainer.explain(user="...", item="...").text)
```

- `preference/`: stage 1, an autoencoder of ratings with a mixture prior of {clusters} clusters
- `explainer/`: stage 2, a causal language model whose feed-forward networks {experts}, {top_k} of them a
  token, with one gate per cluster{needs}
- `catalog/`: names of users and items, the rating scale, and which items each user reviewed in training
- `run.yaml`: the whole configuration; `training.json`: losses
- after `gavamoe evaluate`: `metrics.json`, `predictions.jsonl`, `report.html`; `evaluations/`: under every condition

The texts are written by a model: they sound like the reviews it learned from, and what they say may be wrong.
The directory names the users of the training reviews; share it only where you may share those names.
"""


def write_model_card(run: RunDirectory, dataset: ReviewDataset, card: RunCard) -> None:
    """Write README.md into the run."""
    config, catalog = card.settings, dataset.catalog
    explainer = config.explainer
    experts = f"{explainer.experts * explainer.granularity} experts"
    beside = card.base_model is not None and explainer.initialisation in (None, "adapter")
    values = catalog.scale.values
    chosen = run.read_training().get("clusters")  # by BIC or ELBO, best first
    text = TEXT.format(
        preset=card.preset,
        base=f"base model `{_name(card.base_model)}`" if card.base_model else "language model from scratch",
        seed=config.seed,
        reviews=dataset.splits["train"],
        users=catalog.n_users,
        items=catalog.n_items,
        low=values[0],
        high=values[-1],
        levels=catalog.scale.levels,
        clusters=chosen[0]["clusters"] if chosen else config.preference.clusters,
        needs="; an adapter: it needs that base model" if explainer.save == "adapter" else "",
        experts=f"have {experts} beside them" if beside else f"are {experts}",
        top_k=config.explainer.top_k * config.explainer.granularity,
    )
    with staged_file(run.model_card) as staged:
        staged.write_text(text, encoding="utf-8")


def _name(base: str) -> str:
    """A hub id, or a directory's last part: where it lay on this machine is nobody's business."""
    return Path(base).name if Path(base).is_absolute() else base
