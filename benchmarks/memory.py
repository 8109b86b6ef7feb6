"""What keeping freed memory is worth: seconds of a training step of stage 2, with and without, in turn.

    python benchmarks/memory.py [--rounds 4] [--steps 8]

The allocator's settings hold for a process, so each measurement is a process of its own; the two kinds alternate, and
the ratio is taken pair by pair.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

CHILD = """
import sys, time
from gavamoe.runtime import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
import torch
from gavamoe.config import ExplainerConfig
from gavamoe.explainer import build
torch.manual_seed(0)
config = ExplainerConfig()
texts = [" ".join(f"word{(i * j) % 3000}" for j in range(1, 20)) for i in range(3000)]
sides = (torch.randn(2000, 96), torch.randn(800, 96))
model, tokenizer = build.from_scratch(texts, config, 5, sides)
model.train()
batch, length = config.batch_size, 36
ids = torch.randint(7, len(tokenizer), (batch, length))
who = {"user_ids": torch.randint(0, 800, (batch,)), "item_ids": torch.randint(0, 800, (batch,))}
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
steps = int(sys.argv[2])
for step in range(steps + 2):
    if step == 2:
        start = time.perf_counter()
    loss = model(ids, labels=ids, cluster_ids=torch.randint(0, 5, (batch,)), **who).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
print((time.perf_counter() - start) / steps)
"""


def step_seconds(kind: str, steps: int) -> float:
    command = [sys.executable, "-c", CHILD, kind, str(steps)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=8)
    arguments = parser.parse_args()
    print("| returned to the kernel (s a step) | kept (s a step) | ratio |\n|---|---|---|")
    ratios = []
    for _ in range(arguments.rounds):
        returned, kept = (step_seconds(kind, arguments.steps) for kind in ("returned", "kept"))
        ratios.append(returned / kept)
        print(f"| {returned:.3f} | {kept:.3f} | {ratios[-1]:.2f} |", flush=True)
    print(f"\nmedian ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
