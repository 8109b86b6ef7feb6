"""The launch files parse, pass their arguments on, and train as one process does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.worlds import TINY
from yaml import safe_dump

from gavamoe.config import parse_config
from gavamoe.errors import RunError
from gavamoe.explainer.explainer import Explainer
from gavamoe.pipeline.train import train_run

ROOT = Path(__file__).parents[1]
LAUNCH = ROOT / "launch"
# Batches too small to be divided into parts: the load balance is taken over each part, and one process has other parts
# than two.
EXACT = {"epochs": 2, "patience": 2, "dropout": 0.0, "batch_size": 8}
SETTINGS = {**TINY, "explainer": {**TINY["explainer"], **EXACT}}
SHARED_ROWS = 20  # of fewer rows than users: which row a user has is a buffer, which FSDP2 must not shard
ON_CPU = ROOT / "tests" / "helpers" / "fsdp2_on_cpu.py"


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Put a program of each given name first on the path, which prints its name, its variables and its arguments."""

    def make(*names):
        for name in names:
            program = tmp_path / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(f'#!/bin/bash\necho {name} "$NODE_RANK" "$@"\n')
            program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    return make


def run(script, *arguments, **variables):
    done = subprocess.run(
        ["bash", str(script), *arguments], env={**os.environ, **variables}, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", ["accelerate-ddp.yaml", "accelerate-fsdp2.yaml"])
def test_the_configurations_are_those_of_accelerate(name):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(LAUNCH / name))  # refuses unknown keys
    assert config.num_processes == 8
    assert config.distributed_type.value == ("FSDP" if "fsdp2" in name else "MULTI_GPU")


def test_the_settings_of_fsdp2_are_those_that_a_launch_exports():
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_multi_gpu_env

    config = str(LAUNCH / "accelerate-fsdp2.yaml")
    arguments = launch_command_parser().parse_args(["--config_file", config, "-m", "gavamoe", "train"])
    environment = prepare_multi_gpu_env(_validate_launch_command(arguments)[0])
    assert environment["ACCELERATE_USE_FSDP"] == "true"
    assert environment["FSDP_VERSION"] == "2"
    assert environment["FSDP_STATE_DICT_TYPE"] == "FULL_STATE_DICT"
    assert environment["FSDP_TRANSFORMER_CLS_TO_WRAP"] == "LlamaDecoderLayer"


def test_torchrun_gets_the_machines_and_the_arguments(programs):
    programs("torchrun")
    script, words = LAUNCH / "torchrun.sh", ["data/a b", "--out", "run"]
    [line] = run(script, *words, NODES="2", NODE_RANK="1", GPUS="8", MASTER_ADDR="node0", MASTER_PORT="1234")
    options = "--nnodes 2 --node-rank 1 --nproc-per-node 8 --master-addr node0 --master-port 1234"
    assert line == f"torchrun 1 {options} -m gavamoe train data/a b --out run"


def test_slurm_starts_torchrun_on_each_machine_and_resumes_after_a_restart(programs, tmp_path, monkeypatch):
    programs("torchrun")
    (tmp_path / "bin" / "scontrol").write_text("#!/bin/bash\necho node7\nseq -f node%g 8 99999\n")
    srun = '#!/bin/bash\nfor SLURM_NODEID in 0 1; do export SLURM_NODEID; "$@"; done\n'
    (tmp_path / "bin" / "srun").write_text(srun)
    for name in ("scontrol", "srun"):
        (tmp_path / "bin" / name).chmod(0o755)
    job = {
        "SLURM_NNODES": "2",
        "SLURM_GPUS_ON_NODE": "8",
        "SLURM_JOB_NODELIST": "node[7-8]",
        "SLURM_JOB_ID": "54321",
        "SLURM_SUBMIT_DIR": str(ROOT),
    }
    options = "--nproc-per-node 8 --master-addr node7 --master-port 24321 -m gavamoe train data --out run"
    expected = [f"torchrun {n} --nnodes 2 --node-rank {n} {options}" for n in (0, 1)]
    monkeypatch.chdir(tmp_path)
    assert run(LAUNCH / "slurm.sbatch", "data", "--out", "run", **job) == expected
    restarted = {**job, "SLURM_RESTART_COUNT": "1"}
    assert run(LAUNCH / "slurm.sbatch", "data", "--out", "run", **restarted) == expected  # nothing to resume yet
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.yaml").touch()
    again = run(LAUNCH / "slurm.sbatch", "data", "--out", "run", **restarted)
    assert again == [f"{line} --resume" for line in expected]
    [first, _] = run(LAUNCH / "slurm.sbatch", "data", "--out=run", **restarted)
    assert first.endswith("train data --out=run --resume")


@pytest.fixture(scope="module", params=[None, SHARED_ROWS], ids=["own rows", "shared rows"])
def settings(request):
    return {**SETTINGS, "preference": {**SETTINGS["preference"], "user_rows": request.param}}


@pytest.fixture(scope="module")
def one(dataset_path, settings, tmp_path_factory):
    """Trained by one process."""
    run = tmp_path_factory.mktemp("one") / "run"
    train_run(dataset_path, run, parse_config(settings))
    return run


def launch(name, processes, *program):
    """Run a program with the configuration file of that name, and return the finished launcher."""
    launcher = ["-m", "accelerate.commands.launch", "--config_file", str(LAUNCH / f"accelerate-{name}.yaml")]
    machine = ["--num_processes", str(processes), "--main_process_port", "0", "--mixed_precision", "no"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, *machine, *map(str, program)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def losses(run, name):
    records = json.loads((run / "training.json").read_text())["explainer"]
    return [record[name] for record in records if name in record]


def rows_of_users(run):
    return Explainer.from_pretrained(run).model.user_token.vectors.row_N


@pytest.fixture
def config(settings, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(safe_dump(settings))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ddp", "fsdp2"])
def test_two_processes_of_accelerate_take_the_steps_of_one(name, dataset_path, settings, one, config, tmp_path):
    two = tmp_path / "two"
    program = ["-m", "gavamoe", "train", dataset_path, "--out", two, "--config", config]
    if name == "fsdp2":
        program = [ON_CPU, dataset_path, two, config, "nowhere"]
    done = launch(name, 2, *program)
    assert done.returncode == 0, done.stderr
    for loss in ("loss", "eval_loss"):
        expected = losses(one, loss)
        assert len(expected)
        assert losses(two, loss) == pytest.approx(expected, rel=1e-5)
    rows = rows_of_users(two)
    assert (rows is None) == (parse_config(settings).preference.user_rows is None)
    assert rows is None or (rows.any() and rows.equal(rows_of_users(one)))


@pytest.mark.slow
def test_a_sharded_training_that_died_is_resumed_by_another_number_of_processes(
    dataset_path, settings, one, config, tmp_path
):
    run = tmp_path / "run"
    assert launch("fsdp2", 2, ON_CPU, dataset_path, run, config, "explainer").returncode != 0
    with pytest.raises(RunError, match="begun with FSDP and cannot be resumed without it"):
        train_run(dataset_path, run, parse_config(settings), resume=True)
    done = launch("fsdp2", 1, ON_CPU, dataset_path, run, config, "nowhere")
    assert done.returncode == 0, done.stderr
    assert losses(run, "eval_loss") == pytest.approx(losses(one, "eval_loss"), rel=1e-4)
