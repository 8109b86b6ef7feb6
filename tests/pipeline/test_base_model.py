"""The whole path around a pretrained base: load, convert, train with LoRA, save, load elsewhere, generate."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from helpers.checkpoints import save_base
from safetensors.torch import load_file
from transformers import Trainer

from gavamoe.data.dataset import ReviewDataset
from gavamoe.errors import ConfigError
from gavamoe.explainer.explainer import Explainer
from gavamoe.explainer.train import prompt_template
from gavamoe.pipeline.train import train_run
from gavamoe.run import RunDirectory

SHORT_PROMPTS = 96  # half of the usual: the small tokenizer of these bases needs several tokens for a word
PAIRS = [("u01", "i01"), ("u02", "i05"), ("nobody", "i02")]


def around_a_base(tiny_config, **settings):
    changes = {"epochs": 2, "max_tokens": 12, "expert_rank": 8, "learning_rate": 1e-3, **settings}
    explainer = tiny_config.explainer.model_copy(update=changes)
    return tiny_config.model_copy(update={"explainer": explainer})


@pytest.mark.slow
@pytest.mark.parametrize("save", ["merged", "adapter"])
def test_from_a_base_checkpoint_to_texts_on_another_machine(save, dataset_path, tiny_config, tmp_path):
    base, run = save_base(tmp_path / "base", chat=True), tmp_path / "run"
    config = around_a_base(tiny_config, save=save, prompt_tokens=SHORT_PROMPTS)
    result = train_run(dataset_path, run, config, base_model=base)
    assert result["explainer"]["epochs"] == 2
    assert base not in (run / "README.md").read_text()
    texts = [e.text for e in Explainer.from_pretrained(run).explain_batch(PAIRS)]

    there = tmp_path / "another machine"
    shutil.move(run, there / "run")
    if save == "merged":
        shutil.rmtree(base)
        assert str(tmp_path) not in (there / "run" / "explainer" / "config.json").read_text()
    else:
        shutil.move(base, there / "base")
        reference = there / "run" / "explainer" / "adapter_config.json"
        adapter = json.loads(reference.read_text())
        assert adapter["base_model_name_or_path"] == base
        reference.write_text(json.dumps({**adapter, "base_model_name_or_path": str(there / "base")}))
        assert not (there / "run" / "explainer" / "model.safetensors").exists()
    moved = Explainer.from_pretrained(there / "run")
    assert [e.text for e in moved.explain_batch(PAIRS)] == texts
    assert moved.tokenizer.chat_template


@pytest.mark.slow
def test_an_interrupted_and_resumed_lora_training_ends_with_the_same_weights(
    dataset_path, tiny_config, tmp_path, monkeypatch
):
    base = save_base(tmp_path / "base")
    config = around_a_base(tiny_config, accumulation=2, prompt_tokens=SHORT_PROMPTS)
    train_run(dataset_path, tmp_path / "whole", config, base_model=base)
    real_step, steps = Trainer.training_step, 0

    def step_then_stop(self, *args, **kwargs):
        nonlocal steps
        steps += 1
        if steps > 35:
            raise KeyboardInterrupt
        return real_step(self, *args, **kwargs)

    monkeypatch.setattr(Trainer, "training_step", step_then_stop)
    with pytest.raises(KeyboardInterrupt):
        train_run(dataset_path, tmp_path / "run", config, base_model=base)
    monkeypatch.undo()
    assert (tmp_path / "run" / "checkpoints").exists()
    train_run(dataset_path, tmp_path / "run", config, base_model=base, resume=True)
    one, other = (load_file(tmp_path / run / "explainer" / "model.safetensors") for run in ("whole", "run"))
    for name, tensor in one.items():
        assert tensor.equal(other[name]), name


def test_an_impossible_base_is_refused_before_training(dataset_path, tiny_config, tmp_path):
    with pytest.raises(ConfigError, match="cannot load the base model"):
        train_run(dataset_path, tmp_path / "run", tiny_config, base_model=str(tmp_path / "none"))
    broken = Path(save_base(tmp_path / "broken"))
    (broken / "tokenizer.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot load the base model"):
        train_run(dataset_path, tmp_path / "run", tiny_config, base_model=str(broken))
    config = around_a_base(tiny_config, tuning="full", save="adapter")
    with pytest.raises(ConfigError, match="save=adapter keeps"):
        train_run(dataset_path, tmp_path / "run", config, base_model=save_base(tmp_path / "base"))
    assert not (tmp_path / "run").exists()


def test_a_run_of_a_version_without_templates_has_prompts_of_special_tokens(dataset_path, tiny_config, tmp_path):
    base, run = save_base(tmp_path / "base"), RunDirectory(tmp_path / "run")
    config = around_a_base(tiny_config, prompt_template="special-tokens")
    train_run(dataset_path, run.path, config, base_model=base)
    assert not (run.explainer / "prompt.jinja").exists()
    assert Explainer.from_pretrained(run.path).explain(*PAIRS[0]).conditions["context"] == "none"

    written = yaml.safe_load(run.card.read_text())
    later = ("prompt_template", "prompt_tokens", "chat_template", "history", "context_dropout", "max_reviews")
    for setting in (*later, "gate_rate_factor", "vector_rate_factor"):
        del written["config"]["explainer"][setting]
    written["config"]["explainer"]["evidence"] = 0
    written["version"] = 1
    run.card.write_text(yaml.safe_dump(written))
    run.break_seal()
    settings = run.read_card().settings.explainer
    assert settings.prompt_template == "special-tokens"
    assert settings.gate_rate_factor == settings.vector_rate_factor == 1
    train_run(dataset_path, run.path, config, base_model=base, resume=True)
    with pytest.raises(ConfigError, match=r"another explainer.evidence|another explainer.prompt_template"):
        train_run(dataset_path, run.path, around_a_base(tiny_config), base_model=base, resume=True)


def test_an_interrupted_training_keeps_the_template_that_it_began_with(dataset_path, tiny_config, tmp_path):
    catalog, path = ReviewDataset.load(dataset_path).catalog, tmp_path / "own.jinja"
    path.write_text("{{ item_token }}{{ user_token }}")
    config = around_a_base(tiny_config, prompt_template=str(path)).explainer
    begun = prompt_template(config, catalog, tmp_path / "checkpoints")
    path.write_text("{{ user_token }}{{ item_token }}")
    assert prompt_template(config, catalog, tmp_path / "checkpoints") == begun
    assert prompt_template(config, catalog, tmp_path / "another") != begun
