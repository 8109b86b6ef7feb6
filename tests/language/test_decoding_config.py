"""The decoding configuration: its file, its overrides, and the state of transformers around a call."""

import json
from dataclasses import FrozenInstanceError

import pytest
from helpers.worlds import TINY
from huggingface_hub.utils import logging as hub_logging
from transformers import GenerationConfig
from transformers.utils import logging as transformers_logging

from gavamoe.config import ExplainerConfig
from gavamoe.errors import ConfigError
from gavamoe.explainer.explainer import Explainer
from gavamoe.language.decoding_config import DecodingConfig
from gavamoe.language.quiet import quiet_transformers
from gavamoe.language.tokenizer import train_tokenizer

TOKENIZER = train_tokenizer(["a fine film"] * 3, 300)


def settings(**changes) -> DecodingConfig:
    return DecodingConfig.from_settings(ExplainerConfig(**TINY["explainer"] | changes), TOKENIZER)


@pytest.mark.parametrize("changes", [{}, {"temperature": 0}, {"candidates": 3, "mbr_references": 0, "top_p": 1.0}])
def test_a_decoding_survives_its_file(changes, tmp_path):
    decoding = settings(**changes)
    decoding.to_generation_config().save_pretrained(tmp_path)
    assert DecodingConfig.from_pretrained(tmp_path) == decoding


def test_the_file_keeps_the_keys_of_earlier_runs(tmp_path):
    settings().to_generation_config().save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "generation_config.json").read_text())
    saved.pop("transformers_version")
    assert saved == {
        "candidates": 2,
        "do_sample": True,
        "eos_token_id": TOKENIZER.eos_token_id,
        "exponential_decay_length_penalty": [14, 1.1],
        "heard": 16,
        "max_new_tokens": 25,
        "no_repeat_ngram_size": 3,
        "pad_token_id": TOKENIZER.pad_token_id,
        "temperature": 0.5,
        "top_p": 0.9,
    }


def test_further_options_of_transformers_are_kept():
    generation = GenerationConfig(max_new_tokens=9, repetition_penalty=1.2, num_beams=3)
    decoding = DecodingConfig.from_generation_config(generation)
    assert decoding.options["repetition_penalty"] == 1.2
    assert decoding.to_generation_config().to_diff_dict() == generation.to_diff_dict()
    with pytest.raises(ValueError, match="max_new_tokens"):
        DecodingConfig.from_generation_config(GenerationConfig())


def test_options_give_a_changed_copy_and_nothing_is_mutated():
    decoding = settings()
    changed = decoding.with_options(candidates=5, repetition_penalty=1.2, mbr_references=0)
    assert (changed.candidates, changed.mbr_references, changed.options["repetition_penalty"]) == (5, 0, 1.2)
    assert decoding == settings()
    assert decoding.with_options(heard=3) == decoding.with_options(mbr_references=3)
    with pytest.raises(FrozenInstanceError):
        decoding.candidates = 5


def test_only_sampling_without_beams_has_several_drafts():
    assert settings(candidates=4).num_drafts == 4
    assert settings(candidates=4).with_options(num_beams=2).num_drafts == 1
    assert settings(candidates=4).with_options(temperature=0).num_drafts == 1
    assert settings(candidates=4, temperature=0).num_drafts == 1


def test_a_temperature_above_0_turns_sampling_on_and_0_turns_it_off():
    greedy = settings(temperature=0)
    assert greedy.with_options(temperature=0.7) == greedy.with_options(temperature=0.7, do_sample=True)
    assert greedy.with_options(temperature=0.7).do_sample
    assert greedy.with_options(temperature=0.7, candidates=4).num_drafts == 4
    assert greedy.with_options(temperature=0.7, do_sample=False).do_sample is False
    assert settings().with_options(temperature=0).do_sample is False
    assert greedy.with_options(temperature=None) == greedy


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("temperatur", "did you mean temperature"),
        ("num_beam", "did you mean num_beams"),
        ("drafts of a text", "choose one of bad_words_ids, candidates"),
        ("options", "choose one of"),
        ("transformers_version", "choose one of"),
        ("top_k", "did you mean top_p"),
        ("min_p", "choose one of"),
        ("num_return_sequences", "choose one of"),
        ("forced_eos_token_id", "did you mean eos_token_id"),
    ],
)
def test_an_option_that_nothing_reads_is_refused(name, advice):
    with pytest.raises(ConfigError, match=f"no decoding option '{name}'; {advice}"):
        settings().with_options(**{name: None})


@pytest.mark.parametrize(
    ("name", "value", "limits"),
    [
        ("temperature", -1, "at least 0"),
        ("temperature", float("nan"), "at least 0"),
        ("top_p", 0.0, "1e-06 to 1"),
        ("top_p", 1.5, "1e-06 to 1"),
        ("candidates", 0, "at least 1"),
        ("candidates", "4", "at least 1"),
        ("num_beams", True, "at least 1"),
        ("max_new_tokens", 0, "at least 1"),
        ("max_new_tokens", 2.5, "at least 1"),
        ("heard", -5, "at least 0"),
        ("repetition_penalty", 0, "at least 1e-06"),
    ],
)
def test_a_number_out_of_range_is_refused(name, value, limits):
    with pytest.raises(ConfigError, match=f"decoding option {name}={value}: expected a (whole )?number .*{limits}"):
        settings().with_options(**{name: value})


def test_the_description_is_the_one_of_earlier_evaluations():
    sampled = "sampled, temperature 0.5, top-p 0.9, seed 0"
    drafts = f"{sampled}, of 2 drafts the one most like the others"
    assert settings().describe() == f"{drafts} and like people's sentences"
    assert settings(mbr_references=0).describe() == drafts
    assert settings(candidates=1).describe() == sampled
    assert settings(temperature=0).describe() == "greedy"
    assert settings(temperature=0).with_options(num_beams=3).describe() == "3 beams"


@pytest.fixture
def talkative():
    """Set verbosity and progress bars as a caller might, and restore them."""
    before = state()
    transformers_logging.set_verbosity_info()
    hub_logging.set_verbosity_debug()
    transformers_logging.enable_progress_bar()
    yield state()
    transformers_logging.set_verbosity(before[0])
    hub_logging.set_verbosity(before[1])
    if not before[2]:
        transformers_logging.disable_progress_bar()


def state() -> tuple[int, int, bool]:
    return (
        transformers_logging.get_verbosity(),
        hub_logging.get_verbosity(),
        transformers_logging.is_progress_bar_enabled(),
    )


def test_transformers_is_quiet_only_inside_the_block(talkative):
    @quiet_transformers()
    def fail():
        with quiet_transformers():
            pass
        assert transformers_logging.get_verbosity() == transformers_logging.ERROR
        assert not transformers_logging.is_progress_bar_enabled()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert state() == talkative


def test_loading_and_explaining_leave_the_callers_process_as_it_was(talkative, run_path):
    explainer = Explainer.from_pretrained(run_path)
    assert state() == talkative
    explainer.explain("u01", "i01")
    assert state() == talkative
