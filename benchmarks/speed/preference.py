"""Time the training of stage 1 against the published encoder and against dense updates, in one run.

    python benchmarks/speed/preference.py [--threads 2] [--rows 400000] [--json]

Each variant trains by the ELBO on simulated pairs in batches of 4,096. Rows per second are the median over ROUNDS
turns, in which the variants alternate. The published encoder is reimplemented from its description: user and item
vectors of 768 dimensions, a Transformer encoder layer whose sequence is the BATCH, two linear heads; mixture and
decoder as in GaVaMoE. GaVaMoE's variants run the whole training step: memory-mapped columns, block shuffle, id
dropout, loss, both optimizers.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gavamoe.config import PreferenceConfig
from gavamoe.data.dataset import InteractionArrays
from gavamoe.preference.batches import Batch, Interactions
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.prior import MixturePrior
from gavamoe.preference.trainer import PreferenceTrainer

BATCH, LEVELS, CLUSTERS, ROUNDS = 4096, 5, 5, 5
SMALL, LARGE = (10_000, 5_000), (1_000_000, 100_000)  # users, items


class PublishedEncoder(nn.Module):
    """Attention over the rows of the batch, as if they were the tokens of a sentence."""

    def __init__(self, users: int, items: int, width: int = 768, latent: int = 128):
        super().__init__()
        self.user, self.item = nn.Embedding(users + 1, width), nn.Embedding(items + 1, width)
        self.mix = nn.TransformerEncoderLayer(2 * width, nhead=2, dim_feedforward=2048)
        self.mu, self.log_var = nn.Linear(2 * width, latent), nn.Linear(2 * width, latent)
        self.decoder = nn.Sequential(nn.Linear(latent, width), nn.ReLU(), nn.Linear(width, LEVELS))
        self.prior = MixturePrior(CLUSTERS, latent)

    def forward(self, batch: Batch) -> Tensor:
        """Return the negative ELBO, a scalar."""
        mixed = self.mix(torch.cat([self.user(batch.user_B), self.item(batch.item_B)], dim=-1))
        mu, log_var = self.mu(mixed), self.log_var(mixed)
        z = mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)
        nll = nn.functional.cross_entropy(self.decoder(z), batch.level_B)
        return nll + self.prior.kl(mu, log_var, self.prior.log_responsibilities(z)).mean()


def pairs(users: int, items: int, rows: int, directory: Path) -> Interactions:
    """Return simulated pairs in memory-mapped columns."""
    rng = np.random.default_rng(0)
    columns = (rng.integers(1, users + 1, rows), rng.integers(1, items + 1, rows), rng.integers(1, LEVELS + 1, rows))
    mapped = []
    for name, column in zip(("user", "item", "level"), columns, strict=True):
        path = directory / f"{users}-{name}.npy"
        np.save(path, column.astype(np.int32))
        mapped.append(np.load(path, mmap_mode="r"))
    return Interactions(InteractionArrays(*mapped))


def steps_of(data: Interactions) -> Iterator[Batch]:
    while True:
        yield from (batch for batch in data.shuffled(BATCH) if len(batch) == BATCH)


def gavamoe(users: int, items: int, data: Interactions) -> Callable[[], None]:
    """Return a training step of the joint phase at 128 dimensions."""
    config = PreferenceConfig(
        clusters=CLUSTERS, latent=128, embedding=128, hidden=128, batch_size=BATCH, restarts=1, precision="fp32"
    )
    training = PreferenceTrainer(PreferenceModel.from_config(users, items, LEVELS, config), data, data, config, 0, None)
    training.progress.phase = "joint"
    batches = steps_of(data)
    return lambda: _discard(training.step(next(batches).drop_ids(config.id_dropout), beta=1.0))


def dense(users: int, items: int, data: Interactions) -> Callable[[], None]:
    """Return a step of the same model with dense Adam over its embedding tables: every step updates every row."""
    config = PreferenceConfig(clusters=CLUSTERS, latent=128, embedding=128, hidden=128, batch_size=BATCH)
    model = PreferenceModel.from_config(users, items, LEVELS, config)
    for tower in (model.encoder.user, model.encoder.item):
        tower.offset.sparse = False
    optimizer, batches = torch.optim.Adam(model.parameters(), lr=1e-3), steps_of(data)

    def step() -> None:
        batch = next(batches)
        losses = model.elbo_losses(batch.user_B, batch.item_B, batch.level_B)
        optimizer.zero_grad(set_to_none=True)
        (losses.nll + losses.kl_user + losses.kl_item).mean().backward()
        optimizer.step()

    return step


def published(users: int, items: int, data: Interactions) -> Callable[[], None]:
    """Return a step of the published encoder."""
    model, batches = PublishedEncoder(users, items), steps_of(data)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        model(next(batches)).backward()
        optimizer.step()

    return step


# name, factory of the step, (users, items), steps per turn
WAYS = (
    ("GaVaMoE, 128 dimensions", gavamoe, SMALL, 20),
    ("GaVaMoE, 10^6 users and 10^5 items", gavamoe, LARGE, 20),
    ("dense Adam, 10^6 users and 10^5 items", dense, LARGE, 1),
    ("published encoder, 768 dimensions", published, SMALL, 1),
)


def _discard(_: float) -> None:
    pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as directory, torch.sparse.check_sparse_tensor_invariants(enable=False):
        data = {sizes: pairs(*sizes, options.rows, Path(directory)) for sizes in (SMALL, LARGE)}
        steps = {name: make(*sizes, data[sizes]) for name, make, sizes, _ in WAYS}
        for step in steps.values():
            step()
        rates: dict[str, list[float]] = {name: [] for name, *_ in WAYS}
        for _ in range(ROUNDS):
            for name, _, _, count in WAYS:
                started = time.perf_counter()
                for _ in range(count):
                    steps[name]()
                rates[name].append(count * BATCH / (time.perf_counter() - started))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"rows_per_s": medians, "peak_gib": peak}) if options.json else table(medians, options.threads))


def table(medians: dict[str, float], threads: int) -> str:
    slowest = medians[WAYS[-1][0]]
    rows = [f"| {name} | {rate:,.0f} | {rate / slowest:.1f} |" for name, rate in medians.items()]
    head = f"| way ({threads} threads, batch {BATCH:,}) | rows per second | times the published encoder |"
    return "\n".join([head, "|---|---|---|", *rows])


if __name__ == "__main__":
    main()
