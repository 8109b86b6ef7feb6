"""Stage 2's language model works with the interfaces of transformers."""

import numpy as np
import pytest
import torch
from helpers.soft_tokens import random_vectors
from helpers.weights import assert_same_weights
from helpers.worlds import TINY
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from gavamoe.config import ExplainerConfig
from gavamoe.explainer import build, generate, modeling, validation
from gavamoe.explainer.context import PairContext
from gavamoe.explainer.dataset import Collator, ExplanationDataset
from gavamoe.explainer.expert_usage import expert_usage
from gavamoe.explainer.generate import GeneratedText
from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.language.decoding_config import DecodingConfig
from gavamoe.language.encoding import IGNORED, PromptEncoder
from gavamoe.language.grouped_attention import GROUPED_PRODUCTS

TEXTS = [
    f"a {adjective} film with a {noun}" for adjective in ("fine", "dull", "bold") for noun in ("heart", "hole", "plot")
] * 5
CONFIG = ExplainerConfig(**TINY["explainer"])


@pytest.fixture
def model() -> GavamoeForCausalLM:
    torch.manual_seed(0)
    return build.from_scratch(TEXTS, CONFIG, 3, random_vectors())[0].eval()


def pair_ids(count: int) -> dict[str, torch.Tensor]:
    ids = torch.arange(count) % 6
    return {"user_ids": ids, "item_ids": ids, "cluster_ids": ids % 3}


def test_the_auto_class_loads_what_was_saved(model, tmp_path):
    model.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert_same_weights(model.state_dict(), loaded.state_dict())
    ids = torch.randint(7, 60, (2, 6))
    with torch.no_grad():  # up to rounding: sums depend on where weights are in memory
        torch.testing.assert_close(model(ids, **pair_ids(2)).logits, loaded(ids, **pair_ids(2)).logits)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
    ]


@pytest.mark.parametrize("has_bf16", [True, False])
def test_a_cpu_runs_a_bf16_model_in_the_precision_that_is_fast_there_and_keeps_its_weights(
    model, has_bf16, monkeypatch
):
    monkeypatch.setattr(modeling, "cpu_prefers_bf16", lambda width: has_bf16)
    model.to(torch.bfloat16)
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    ids = torch.randint(7, 60, (4, 6))
    mask = torch.tensor([[1] * 6, [0] * 2 + [1] * 4] * 2)
    with torch.no_grad():
        expected = model(ids, attention_mask=mask, **pair_ids(4)).logits
        model.suit_cpu()
        found = model(ids, attention_mask=mask, **pair_ids(4)).logits
    assert model.dtype == (torch.bfloat16 if has_bf16 else torch.float32)
    assert all(torch.equal(weight.to(torch.bfloat16), weights[name]) for name, weight in model.state_dict().items())
    assert (model.lm.config._attn_implementation == GROUPED_PRODUCTS) == has_bf16
    torch.testing.assert_close(found[mask == 1].float(), expected[mask == 1].float(), rtol=0.05, atol=0.05)


def test_a_float32_model_stays_as_it_is_on_a_cpu(model, monkeypatch):
    monkeypatch.setattr(modeling, "cpu_prefers_bf16", lambda width: True)
    model.suit_cpu()
    assert model.dtype == torch.float32
    assert model.lm.config._attn_implementation == "sdpa"


def test_user_and_item_enter_only_through_their_special_tokens(model):
    prompt = torch.tensor([[model.config.user_token_id, model.config.item_token_id, 9]])
    with torch.no_grad():
        one, other = (
            model(prompt, cluster_ids=torch.zeros(1, dtype=torch.long), user_ids=u, item_ids=u).logits
            for u in torch.tensor([[1], [2]])
        )
        without_special_tokens = torch.tensor([[8, 9, 10]])
        same = [
            model(without_special_tokens, cluster_ids=torch.zeros(1, dtype=torch.long), user_ids=u, item_ids=u).logits
            for u in torch.tensor([[1], [2]])
        ]
    assert not torch.equal(one, other)
    assert torch.equal(*same)


def test_tokens_of_a_field_get_the_embedding_of_its_opening_token_and_those_of_the_text_do_not(model):
    rating, feature, _ = model.config.fact_token_ids
    vectors = model.get_input_embeddings()
    ids = torch.tensor([[model.config.user_token_id, rating, 20, feature, 21, 22, model.config.text_token_id, 21, 20]])
    opened_by = [None, None, rating, None, feature, feature, None, None, None]
    expected = vectors(ids)
    for position, opening in enumerate(opened_by):
        if opening is not None:
            expected[0, position] += vectors.weight[opening]
    read = {}
    model.lm.register_forward_pre_hook(lambda module, args, kwargs: read.update(kwargs), with_kwargs=True)
    with torch.no_grad():
        whole = model(ids, **pair_ids(1)).logits
        torch.testing.assert_close(read["inputs_embeds"][0, 1:], model.config.embedding_scale * expected[0, 1:])
        prompt = model(ids[:, :7], **pair_ids(1), use_cache=True)
        steps = [
            model(ids[:, position : position + 1], cache=prompt.cache, **pair_ids(1)).logits for position in (7, 8)
        ]
    torch.testing.assert_close(torch.cat(steps, 1), whole[:, 7:], rtol=1e-4, atol=1e-4)


def test_the_loss_equals_the_one_over_all_logits_whatever_is_scored(model):
    ids = torch.randint(7, 60, (3, 9))
    labels = ids.clone()
    labels[0, :4], labels[1, :6], labels[2, 7:] = IGNORED, IGNORED, IGNORED
    prompted = labels.clone()
    prompted[:, :3] = IGNORED
    nothing = torch.full_like(ids, IGNORED)
    with torch.no_grad():
        logits = model(ids, **pair_ids(3)).logits
        for target in (labels, prompted):
            expected = cross_entropy(logits[:, :-1].flatten(0, 1), target[:, 1:].flatten(), ignore_index=IGNORED)
            torch.testing.assert_close(model(ids, labels=target, **pair_ids(3)).loss, expected)
        assert model(ids, labels=nothing, **pair_ids(3)).loss == 0
        assert model(ids, labels=prompted, **pair_ids(3)).logits.shape[1] == 7  # none for the prompt


def positions_with_logits(model) -> list[int]:
    """Record the number of positions with logits of each following forward."""
    positions = []
    model.get_output_embeddings().register_forward_hook(lambda module, args, out: positions.append(out.shape[1]))
    return positions


def test_generate_computes_logits_of_the_prompts_last_token_only(model):
    positions = positions_with_logits(model)
    prompt = torch.randint(7, 60, (2, 6))
    model.generate(prompt, **pair_ids(2), max_new_tokens=3, min_new_tokens=3)
    assert positions == [1, 1, 1]
    model(prompt, **pair_ids(2))
    assert positions[-1] == 6


@pytest.mark.parametrize(("largest", "expected"), [(0, 1), (2**15, 5)])
def test_logits_of_a_whole_prompt_are_computed_for_a_small_vocabulary_only(model, monkeypatch, largest, expected):
    monkeypatch.setattr(generate, "MAX_VOCABULARY_FOR_PROMPT_LOGITS", largest)
    positions = positions_with_logits(model)
    prompt, decoding = torch.randint(7, 60, (2, 5)), DecodingConfig(max_new_tokens=2, eos_token_id=1)
    generate.decode(model, prompt, torch.ones_like(prompt), pair_ids(2), decoding, torch.arange(2))
    assert positions == [expected, 1]


def test_expert_usage_computes_no_logits_that_are_not_read(model):
    positions = positions_with_logits(model)
    ids = np.arange(3)
    pairs = PairContext(ids, ids, ids % 3, [None] * 3, [None] * 3)
    written = [GeneratedText("", [7, 8, 9], [20] * (row + 1), finished=True) for row in range(3)]
    counts_NLE = expert_usage(model, pairs, written)
    assert positions == [1]
    assert counts_NLE[:, 0].sum(1).tolist() == [model.config.experts_per_token * n for n in (1, 2, 3)]


def test_beam_search_keeps_gate_and_sequence_together(model):
    prompt = torch.tensor([[model.config.user_token_id, model.config.item_token_id, 9]]).expand(4, 3)
    options = {"num_beams": 3, "max_new_tokens": 6, "do_sample": False}
    together = model.generate(prompt, **pair_ids(4), **options)
    for row in range(4):
        alone = model.generate(
            prompt[row : row + 1], **{k: v[row : row + 1] for k, v in pair_ids(4).items()}, **options
        )
        ended = alone.shape[1]
        assert torch.equal(together[row, :ended], alone[0])


def test_the_cache_changes_no_token(model):
    prompt = torch.tensor([[model.config.user_token_id, model.config.item_token_id, 9]]).expand(3, 3)
    cached, fresh = (model.generate(prompt, **pair_ids(3), max_new_tokens=8, use_cache=use) for use in (True, False))
    assert torch.equal(cached, fresh)


def test_gradient_checkpointing_gives_the_same_gate_gradients(model):
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    ids = torch.randint(7, 60, (4, 6))
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": False})
        model.zero_grad()
        model(ids, labels=ids, **pair_ids(4)).loss.backward()
        gradients.append([p.grad.clone() for name, p in model.named_parameters() if "gate.weight" in name])
    for left, right in zip(*gradients, strict=True):
        assert left.abs().sum() > 0
        torch.testing.assert_close(left, right)


def test_the_loss_is_taken_on_explanation_and_end_token_only(model):
    ids = torch.randint(7, 60, (2, 6))
    labels = ids.clone()
    labels[:, :4] = -100
    logits = model(ids, **pair_ids(2)).logits
    expected = torch.nn.functional.cross_entropy(logits[:, 3:5].flatten(0, 1), ids[:, 4:].flatten())
    torch.testing.assert_close(model(ids, labels=labels, **pair_ids(2)).loss, expected)


def test_missing_clusters_are_an_error_that_names_the_argument(model):
    with pytest.raises(ValueError, match="cluster_ids"):
        model(torch.ones(1, 3, dtype=torch.long))


@pytest.fixture
def rows() -> ExplanationDataset:
    """Five validation sequences."""
    tokenizer = build.train_tokenizer(TEXTS, 400)
    texts = [" ".join(TEXTS[:n]) for n in (1, 4, 2, 1, 3)]
    ids = np.arange(5)
    pairs = PairContext(ids, ids, ids % 3, [None] * 5, [None] * 5)
    return ExplanationDataset(pairs, texts, PromptEncoder(tokenizer), CONFIG, seed=0, hide=False)


def test_the_validation_loss_does_not_depend_on_the_batch_size_or_on_chunks(model, rows, monkeypatch):
    losses = []
    for batch in (1, 2, 128):
        monkeypatch.setattr(validation, "VALIDATION_BATCH", batch)
        losses.append(validation.validation_loss(model, rows, Collator(0), model.device))
    model.loss_in_chunks = True
    losses.append(validation.validation_loss(model, rows, Collator(0), model.device))
    assert losses == pytest.approx([losses[0]] * 4, rel=1e-5)


@pytest.mark.parametrize(("room", "expected"), [(2.5, [2, 2, 1]), (0.5, [1] * 5), (None, [5])])
def test_a_large_vocabulary_is_validated_in_smaller_batches(model, rows, monkeypatch, room, expected):
    if room is not None:
        monkeypatch.setattr(validation, "MAX_LOGITS", int(room * model.config.vocabulary))
    sizes = []

    def collate(batch):
        sizes.append(len(batch))
        return Collator(0)(batch)

    validation.validation_loss(model, rows, collate, model.device)
    assert sizes == expected
