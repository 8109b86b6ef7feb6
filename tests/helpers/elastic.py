"""Run by one or several processes (test_elastic.py): train a run, record the rows of each epoch, die where told.

python elastic.py DATA RUN CONFIG LOG nowhere|preference|explainer
"""

import os
import sys
from pathlib import Path

import torch
from yaml import safe_load

from gavamoe.config import parse_config
from gavamoe.distributed import rank
from gavamoe.explainer import trainer as stage_2
from gavamoe.explainer.dataset import ExplanationDataset
from gavamoe.pipeline.train import train_run
from gavamoe.preference import trainer as stage_1

data, run, config, log, stop = sys.argv[1:]
torch.set_num_threads(1)


def dying_after(function, calls):
    """Return the function, which kills this process at the end of so many calls."""
    count = 0

    def called(*args, **kwargs):
        nonlocal count
        function(*args, **kwargs)
        count += 1
        if count == calls and rank() == 0:
            os._exit(3)

    return called


def recording(get_row):
    """Return `__getitem__` of the dataset, which writes the epoch and the row of each training sequence to the log."""

    def get(dataset, row):
        if dataset.hide:
            with Path(log).open("a") as file:
                file.write(f"{dataset.epoch} {row}\n")
        return get_row(dataset, row)

    return get


ExplanationDataset.__getitem__ = recording(ExplanationDataset.__getitem__)
if stop == "preference":
    stage_1.save_state = dying_after(stage_1.save_state, 6)
if stop == "explainer":
    stage_2.KeepBestAndLast.on_save = dying_after(stage_2.KeepBestAndLast.on_save, 1)
train_run(Path(data), Path(run), parse_config(safe_load(Path(config).read_text())), resume=Path(run).exists())
