"""The base model without any training, as a system: it answers prompts that state what GaVaMoE's prompts state.

    zero-shot   an instruction, then the prompt of the pair
    few-shot    the same, with EXAMPLES training reviews and the prompts of their items between the two

Ratings, features and quotations come from stage 1 and the training reviews, as in GaVaMoE. The prompt goes through the
base model's chat template, since it is an instruction. Only stage 1 is trained and saved.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch

from gavamoe.baselines.base import Predictions, TrainingSummary
from gavamoe.baselines.data import TextData
from gavamoe.baselines.registry import SystemContext
from gavamoe.conditions import Condition
from gavamoe.config import SPECIAL
from gavamoe.data.dataset import id_arrays
from gavamoe.distributed import default_device
from gavamoe.errors import ConfigError
from gavamoe.experiments.training_timer import SECONDS, TrainingTimer
from gavamoe.explainer import build
from gavamoe.explainer.context import ContextBuilder
from gavamoe.explainer.explainer import Explainer
from gavamoe.explainer.gate_assignment import GateAssignment
from gavamoe.explainer.soft_tokens import SoftTokenVectors
from gavamoe.language.decoding_config import DecodingConfig
from gavamoe.language.template import PromptTemplate, read_source
from gavamoe.parameters import num_parameters
from gavamoe.pipeline.train import train_run
from gavamoe.preference.recommender import load_preference
from gavamoe.run import RunDirectory

INSTRUCTION = "Write the review that this reviewer would write of this item, in one sentence. Answer with it alone."
EXAMPLES = 4
CHAT_TOKENS = 64  # more than a chat template adds to a message


class PromptedSystem:
    """The base model with prompts in words, untrained.

    Args:
        context: names the base model and the settings of the comparison.
        examples: how many training reviews a prompt shows.
    """

    inputs = frozenset({"rating", "feature", "context"})

    def __init__(self, context: SystemContext, examples: int):
        self.context, self.examples = context, examples
        self.explainer: Explainer | None = None

    def fit(self, data: TextData, seed: int, directory: Path) -> TrainingSummary:
        """Train stage 1, which predicts the ratings that prompts state."""
        if data.path is None:
            raise ValueError("stage 1 trains on a prepared dataset; make the data with TextData.from_dataset")
        run, config = RunDirectory(directory / "run"), self.context.config.model_copy(update={"seed": seed})
        with TrainingTimer(directory / SECONDS) as timer:
            train_run(data.path, run.path, config, self.context.preset, stage="preference", resume=run.card.is_file())
        seconds = timer.seconds
        self.load(data, seed, directory)
        (directory / SECONDS).unlink()  # last: where loading fails, a resumed comparison still knows the seconds
        assert self.explainer is not None
        return TrainingSummary(num_parameters(self.explainer.model, self.explainer.preference), seconds)

    def load(self, data: TextData, seed: int, directory: Path) -> None:
        """Put stage 1, the prompts and the base model together."""
        run, base = RunDirectory(directory / "run"), self.context.base_model
        assert base is not None
        config = self.context.config.explainer.resolve_defaults(base=True)
        config = config.model_copy(
            update={"moe_layers": [], "mbr_references": 0, "mbr_content_words": False, "soft_token_width": 0}
        )
        preference = load_preference(run)
        none = SoftTokenVectors(torch.zeros(data.users + 1, 0), torch.zeros(data.items + 1, 0))
        model, tokenizer = build.from_base(base, config, 1, none)
        if default_device() == "cpu":
            model.use_fast_attention()
        model.generation_config = DecodingConfig.from_settings(config, tokenizer).to_generation_config()
        gates = GateAssignment.fit("one", preference, *id_arrays(data.train_texts), seed)
        source = read_source(config.prompt_template or "")
        template = PromptTemplate(source, data.scale.in_words(), config.prompt_tokens, soft_tokens=False)
        reviews = data.train_texts
        context = ContextBuilder.fit(
            reviews, data.catalog, preference, gates, config.evidence or 0, template, config.history
        )
        before = [INSTRUCTION, *examples_of(reviews, context, self.examples, seed)]
        room = sum(len(ids) for ids in tokenizer(before)["input_ids"]) + CHAT_TOKENS
        source = "\n\n".join([*map(literal, before), source])
        context = replace(
            context, template=replace(template, source=source, max_tokens=template.max_tokens + room, chat=True)
        )
        self.explainer = Explainer(context, model.to(default_device()), tokenizer, run.read_card())

    def predict(self, pairs: pl.DataFrame, condition: Condition) -> Predictions:
        """Let the base model answer the pairs' prompts; ratings are those of stage 1."""
        if self.explainer is None:
            raise ValueError("fit or load comes before predict")
        explanations = self.explainer.explain_batch(pairs, condition)
        return Predictions([e.text for e in explanations], np.array([e.rating for e in explanations]))


def examples_of(reviews: pl.DataFrame, context: ContextBuilder, count: int, seed: int) -> list[str]:
    """Return training reviews as examples, drawn by the seed: a prompt without quotations, then the review's text.

    Args:
        reviews: training reviews with text.
        context: makes the prompts.
        count: how many.
        seed: of the draw.
    """
    drawn = reviews.sample(min(count, len(reviews)), seed=seed)
    pairs, predicted = context.from_reviews(drawn)
    facts, template = context.facts(pairs, predicted, drawn["item"].to_list()), context.template
    assert facts is not None
    assert template is not None
    examples = []
    for row, text in enumerate(drawn["text"].to_list()):
        fields = facts.fields(row, pairs.level[row], pairs.feature[row], "item")
        examples.append(f"{template.render(fields, '', '')} {text}")
    return examples


def literal(text: str) -> str:
    """Return a text as Jinja source that renders to it, whatever it contains."""
    return "{{ " + json.dumps(text) + " }}"


def check_prompted(context: SystemContext) -> None:
    """Raise `ConfigError` if there is no base model or no prompt in words, or one that cannot be used."""
    if context.base_model is None:
        raise ConfigError("zero-shot and few-shot prompt a pretrained language model; name one with --base-model")
    if context.config.explainer.prompt_template == SPECIAL:
        raise ConfigError(
            f"zero-shot and few-shot need prompts in words: leave out explainer.prompt_template={SPECIAL}, or these two"
        )
    build.check_settings(context.config.explainer, 1, context.base_model)
