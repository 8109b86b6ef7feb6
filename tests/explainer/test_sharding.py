"""FSDP2 with two processes on the CPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.slow
def test_a_sharded_model_has_the_gradients_of_the_whole_and_is_saved_whole(tmp_path):
    path = os.pathsep.join(str(folder) for folder in (HERE.parents[1] / "src", HERE.parent))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    arguments = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        str(HERE.parent / "helpers" / "sharded.py"),
        str(tmp_path),
    ]
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
