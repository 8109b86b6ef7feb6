"""Training of stage 2 in little memory: the loss in chunks, and batches that shrink until they fit."""

import numpy as np
import pytest
import torch
from helpers.checkpoints import TEXTS
from helpers.soft_tokens import random_vectors
from helpers.worlds import TINY
from transformers import Gemma2Config, LlamaConfig

from gavamoe.config import ExplainerConfig
from gavamoe.errors import ConfigError
from gavamoe.explainer import build, chunked_loss
from gavamoe.explainer.configuration import GavamoeConfig
from gavamoe.explainer.context import PairContext
from gavamoe.explainer.dataset import ExplanationDataset
from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.explainer.trainer import fit_explainer, with_smaller_batches
from gavamoe.language.encoding import PromptEncoder

IGNORED, BATCH, LENGTH, VOCABULARY = -100, 3, 9, 50


def model_of(config_class, **options):
    torch.manual_seed(0)
    text_config = config_class(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        **options,
    )
    model = GavamoeForCausalLM(GavamoeConfig(text_config, clusters=2, experts=4, experts_per_token=2, expert_width=8))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model.train()


@pytest.fixture
def batch():
    torch.manual_seed(1)
    ids = torch.randint(3, VOCABULARY, (BATCH, LENGTH))
    labels = ids.clone()
    labels[0, :4], labels[1, :6], labels[2, :2], labels[2, 7:] = IGNORED, IGNORED, IGNORED, IGNORED
    return {"input_ids": ids, "labels": labels, "cluster_ids": torch.tensor([0, 1, 1])}


def loss_and_gradients(model, batch):
    model.zero_grad()
    loss = model(**batch).loss
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("rows", [1, 2, 100])
@pytest.mark.parametrize("items", [None, 40])
def test_the_loss_in_chunks_and_its_gradients_are_those_of_the_whole_loss(batch, rows, items, monkeypatch):
    monkeypatch.setattr(chunked_loss, "CHUNK_LOGITS", rows * VOCABULARY)
    model = model_of(LlamaConfig)
    batch = batch | {"num_items_in_batch": items}
    loss, gradients = loss_and_gradients(model, batch)
    model.loss_in_chunks = True
    chunked, its_gradients = loss_and_gradients(model, batch)
    torch.testing.assert_close(chunked, loss)
    assert gradients.keys() == its_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(its_gradients[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_outside_training_a_loss_comes_with_logits(batch):
    model = model_of(LlamaConfig)
    model.loss_in_chunks = True
    assert model.eval()(**batch).logits is not None


@pytest.mark.parametrize("in_chunks", [True, False])
def test_a_loss_alone_needs_no_logits_where_it_is_computed_in_chunks(batch, in_chunks):
    model = model_of(LlamaConfig).eval()
    with torch.no_grad():
        expected = model(**batch)
        model.loss_in_chunks = in_chunks
        found = model(**batch, loss_only=True)
    torch.testing.assert_close(found.loss, expected.loss)
    assert (found.logits is None) == in_chunks


@pytest.mark.parametrize(
    ("config_class", "options", "expected"),
    [
        (LlamaConfig, {"tie_word_embeddings": True}, True),
        (LlamaConfig, {}, True),
        (Gemma2Config, {"final_logit_softcapping": 0.5}, False),
    ],
    ids=["tied", "untied", "capped"],
)
def test_an_lm_that_changes_its_logits_after_the_output_layer_gets_no_chunks(config_class, options, expected):
    model = model_of(config_class, **options)
    assert chunked_loss.can_chunk_loss(model) == expected
    assert model.training


def train(tmp_path, fits=None, **settings):
    """Train in a memory that `fits` so many sequences at once; return the losses and the sizes of the batches."""
    tiny = TINY["explainer"] | {"epochs": 2, "batch_size": 8, "dropout": 0.0} | settings
    config = ExplainerConfig(**tiny).resolve_defaults(base=False)
    torch.manual_seed(0)
    model, tokenizer = build.from_scratch(TEXTS, config, 3, random_vectors())
    ids = np.arange(16) % 6
    pairs = PairContext(ids, ids, ids % 3, [3] * len(ids), [None] * len(ids))
    rows = ExplanationDataset(
        pairs, [TEXTS[i % len(TEXTS)] for i in range(16)], PromptEncoder(tokenizer), config, seed=0, hide=True
    )
    sizes, forward = [], model.forward

    def in_little_memory(input_ids, **inputs):
        if model.training:
            sizes.append(len(input_ids))
            if fits is not None and len(input_ids) > fits:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return forward(input_ids=input_ids, **inputs)

    model.forward = in_little_memory
    history = fit_explainer(model, tokenizer, rows, rows, config, 0, tmp_path / "state")
    return [record["eval_loss"] for record in history if "eval_loss" in record], sizes


def test_a_batch_that_does_not_fit_into_memory_is_divided_and_the_steps_stay_the_same(tmp_path, caplog):
    losses, _ = train(tmp_path / "small", accumulation=4)
    found, sizes = train(tmp_path / "shrunk", fits=2)
    assert sizes == [8, 4, *[2] * 16]
    assert found == pytest.approx(losses, rel=1e-5)
    assert "explainer.accumulation=4" in caplog.text


def test_memory_that_fills_up_later_ends_the_training(tmp_path):
    with pytest.raises(torch.OutOfMemoryError):
        train(tmp_path, fits=Shrinking([8, 8, 1]))


class Shrinking:
    """A memory that takes batches of other sizes from step to step."""

    def __init__(self, sizes):
        self.sizes = iter(sizes)

    def __lt__(self, size):
        return next(self.sizes) < size


def test_without_room_for_one_sequence_the_message_says_what_to_change():
    config = ExplainerConfig(batch_size=6, accumulation=2)
    assert with_smaller_batches(config).accumulation == 3
    with pytest.raises(ConfigError, match=r"gradient_checkpointing=true"):
        with_smaller_batches(ExplainerConfig(batch_size=6, accumulation=6))
