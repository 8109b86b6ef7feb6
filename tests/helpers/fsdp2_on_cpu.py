"""Run by processes of `accelerate launch` with FSDP2 (test_launch.py): train a run on CPUs, sharded.

    accelerate launch --config_file launch/accelerate-fsdp2.yaml fsdp2_on_cpu.py DATA RUN CONFIG [nowhere|explainer]

accelerate enables FSDP only for processes with accelerators, so its state is changed here. With `explainer`, the
processes die after the first epoch of stage 2.
"""

import os
import sys
from pathlib import Path

import torch
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from torch.distributed.tensor import DTensor
from yaml import safe_load

from gavamoe.config import parse_config
from gavamoe.explainer import trainer
from gavamoe.pipeline.train import train_run

initialise, gather = AcceleratorState.__init__, trainer.gather_sharded


def initialise_sharded(state, *args, **kwargs):
    initialise(state, *args, **kwargs)
    state.distributed_type = DistributedType.FSDP
    if getattr(state, "fsdp_plugin", None) is None:
        state.fsdp_plugin = FullyShardedDataParallelPlugin()  # from the variables that the launcher has set


def gather_and_check(model):
    assert all(isinstance(parameter, DTensor) for parameter in model.parameters())  # the training was sharded
    gather(model)


AcceleratorState.__init__, trainer.gather_sharded = initialise_sharded, gather_and_check
data, run, config, stop = sys.argv[1:]
if stop == "explainer":
    save = trainer.KeepBestAndLast.on_save

    def save_and_die(*args, **kwargs):
        save(*args, **kwargs)
        torch.distributed.barrier()
        os._exit(3)

    trainer.KeepBestAndLast.on_save = save_and_die
train_run(Path(data), Path(run), parse_config(safe_load(Path(config).read_text())), resume=Path(run).exists())
