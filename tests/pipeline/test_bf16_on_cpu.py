"""A base that a CPU with instructions for bf16 trains, updates and writes in bf16; another CPU reads the run."""

import math

import pytest
import torch
from helpers.checkpoints import save_base
from safetensors.torch import load_file
from transformers import Trainer

from gavamoe import Explainer
from gavamoe.language.grouped_attention import GROUPED_PRODUCTS
from gavamoe.pipeline.train import train_run
from gavamoe.run import RunDirectory

PAIRS = [("u01", "i01"), ("u02", "i05")]


@pytest.fixture
def cpu_with_bf16(monkeypatch):
    """Pretend that the CPU has instructions for bf16, and that a narrow base is wide."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    monkeypatch.setattr("gavamoe.distributed.MIN_BF16_WIDTH", 16)


@pytest.fixture
def config(tiny_config):
    """Settings of a short training around a base."""
    settings = tiny_config.explainer.model_copy(update={"epochs": 1, "update_epochs": 1, "expert_rank": 8})
    return tiny_config.model_copy(update={"explainer": settings})


@pytest.fixture
def run(cpu_with_bf16, dataset_path, config, tmp_path):
    """A run that this CPU trained around a base."""
    train_run(dataset_path, tmp_path / "run", config, base_model=save_base(tmp_path / "base"))
    return tmp_path / "run"


def dtypes(run):
    return {weight.dtype for weight in load_file(run / "explainer" / "model.safetensors").values()}


def last_loss(run):
    records = RunDirectory(run).read_training()["explainer"]
    return [record["eval_loss"] for record in records if "eval_loss" in record][-1]


@pytest.mark.slow
def test_training_update_and_writing_use_bf16_and_another_cpu_float32(run, dataset_path, tmp_path, monkeypatch):
    newer = tmp_path / "newer"
    train_run(dataset_path, newer, update=run)
    for each in (run, newer):
        assert dtypes(each) == {torch.bfloat16}
        assert math.isfinite(last_loss(each))
    explainer = Explainer.from_pretrained(newer)
    assert explainer.model.dtype == torch.bfloat16
    assert explainer.model.lm.config._attn_implementation == GROUPED_PRODUCTS
    assert len(explainer.explain_batch(PAIRS)) == len(PAIRS)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True}, raising=False)
    elsewhere = Explainer.from_pretrained(newer)
    assert elsewhere.model.dtype == torch.float32
    assert len(elsewhere.explain_batch(PAIRS)) == len(PAIRS)


@pytest.mark.slow
def test_a_run_in_bf16_is_updated_in_float32_where_the_cpu_lacks_the_instructions(
    run, dataset_path, tmp_path, monkeypatch
):
    newer = tmp_path / "newer"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True}, raising=False)
    train_run(dataset_path, newer, update=run)
    assert dtypes(newer) == {torch.float32}
    assert math.isfinite(last_loss(newer))


@pytest.mark.slow
def test_a_training_that_goes_on_on_another_cpu_keeps_its_precision(
    cpu_with_bf16, dataset_path, config, tmp_path, monkeypatch
):
    base, out = save_base(tmp_path / "base"), tmp_path / "run"

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "training_step", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train_run(dataset_path, out, config, base_model=base)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True}, raising=False)
    train_run(dataset_path, out, config, base_model=base, resume=True)
    assert dtypes(out) == {torch.bfloat16}
    train_run(dataset_path, tmp_path / "anew", config, base_model=base)
    assert dtypes(tmp_path / "anew") == {torch.float32}
