"""The way in: `Explainer.from_pretrained(RUN).explain(user=..., item=...)`."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from safetensors import SafetensorError
from transformers import AutoTokenizer, GenerationConfig, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from gavamoe.conditions import Condition, given_column
from gavamoe.data.catalog import Catalog
from gavamoe.distributed import default_device
from gavamoe.errors import DataError, InputError, RunError
from gavamoe.explainer.context import ContextBuilder, PreferenceOutput
from gavamoe.explainer.dataset import PairContext
from gavamoe.explainer.expert_usage import ExpertReport, expert_usage, usage_of_texts
from gavamoe.explainer.explanation import Explanation
from gavamoe.explainer.generate import Generated, generate
from gavamoe.explainer.lora import load_model
from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.explainer.streaming import WordStreamer
from gavamoe.explainer.streaming import stream as stream_words
from gavamoe.language.decoding_config import drafts_of
from gavamoe.language.encoding import PromptEncoder
from gavamoe.preference.model import PreferenceModel
from gavamoe.progress import Advance, track
from gavamoe.run import CATALOG_FILES, EXPLAINER_FILES, PREFERENCE_FILES, RunDirectory

EVIDENCE = 3  # sentences beside the text of a single pair


class Explainer:
    """Both stages of a run with the names of its users and items."""

    def __init__(
        self,
        context: ContextBuilder,
        model: GavamoeForCausalLM,
        tokenizer: PreTrainedTokenizerBase,
    ):
        self.context, self.model, self.tokenizer = context, model.eval(), tokenizer
        self.preference, self.catalog = context.preference.eval(), context.catalog
        self._writing = threading.Lock()  # the model's routing state serves one batch at a time

    @classmethod
    def from_pretrained(cls, run: Path | str, device: str | torch.device | None = None) -> Explainer:
        """Load a run directory, onto a GPU where there is one; `RunError` names what is missing or damaged."""
        device = default_device() if device is None else device
        directory = RunDirectory(Path(run))
        directory.require(*CATALOG_FILES, *PREFERENCE_FILES, *EXPLAINER_FILES)
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        try:
            preference = PreferenceModel.from_pretrained(directory.preference).to(device)
            model = load_model(directory.explainer).to(device)
            tokenizer = AutoTokenizer.from_pretrained(directory.explainer)
        except InputError:
            raise
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise RunError(f"the run {run} is damaged: {error}; copy the whole directory again") from None
        catalog = Catalog.load(directory.catalog)
        context = ContextBuilder.load(directory.explainer, preference, catalog, model.config.evidence)
        return cls(context, model, tokenizer)

    def prompt_ids(self, level: int | None, feature: str | None) -> list[int]:
        """Token ids of the prompt that states these facts."""
        return PromptEncoder(self.tokenizer)(level, feature)

    def predict_preference(self, user_id: np.ndarray, item_id: np.ndarray) -> PreferenceOutput:
        """Rating and cluster of pairs of ids, without writing a text."""
        return self.context.predict_preference(user_id, item_id)

    def explain(
        self,
        user: Any,
        item: Any,
        rating: float | None = None,
        feature: str | None = None,
        evidence: int = EVIDENCE,
        **decoding: Any,
    ) -> Explanation:
        """Explain one pair; a `rating` or `feature` passed is taken as given. Others: see `explain_batch`."""
        pair, condition = one_pair(user, item, rating, feature)
        return self.explain_batch(pair, condition, experts=True, evidence=evidence, **decoding)[0]

    def stream(
        self,
        user: Any,
        item: Any,
        rating: float | None = None,
        feature: str | None = None,
        seed: int = 0,
        evidence: int = EVIDENCE,
        **decoding: Any,
    ) -> Generator[str, None, Explanation]:
        """Yield the words of `explain(..., candidates=1)` as they are written; joined they are its text, exactly.

        The generator's return value is the explanation. Beams, and which of several drafts is kept, are settled only
        at the end, so where `decoding` asks for them the text comes whole. Closing the generator stops the writing.
        """
        frame, condition = one_pair(user, item, rating, feature)
        generation = self._generation({"candidates": 1, **decoding})
        written: list[Explanation] = []

        def write(streamer: WordStreamer | None) -> None:
            written.extend(self._explain(frame, condition, generation, seed, True, evidence, streamer=streamer))

        if (generation.num_beams or 1) > 1 or drafts_of(generation) > 1:
            write(None)
            yield written[0].text
        else:
            streamer = WordStreamer(self.tokenizer)
            yield from stream_words(streamer, lambda: write(streamer))
        return written[0]

    def explain_batch(
        self,
        pairs: pl.DataFrame | Sequence[tuple[Any, Any]],
        condition: Condition = Condition(),
        experts: bool = False,
        seed: int = 0,
        evidence: int = 0,
        advance: Advance | None = None,
        **decoding: Any,
    ) -> list[Explanation]:
        """Explain many pairs, in their order.

        pairs: a frame with user and item (and rating, feature where the condition says `given`), or (user, item)
        tuples. `decoding` overrides the run's generation settings (do_sample, num_beams, ...: as in transformers; and
        candidates: how many drafts of a text are written to keep the one most like the others).
        Where they sample, another `seed` gives another text; a pair's text never depends on the rest of the batch.
        evidence: how many sentences by others to return beside each text. `advance` moves the caller's progress bar;
        without one there is a bar for this call.
        """
        frame, generation = as_frame(pairs), self._generation(decoding)
        if advance is not None:
            return self._explain(frame, condition, generation, seed, experts, evidence, advance)
        with track("explanations", len(frame)) as own:
            return self._explain(frame, condition, generation, seed, experts, evidence, own)

    def _explain(
        self,
        frame: pl.DataFrame,
        condition: Condition,
        generation: GenerationConfig,
        seed: int,
        experts: bool,
        evidence: int,
        advance: Advance = lambda steps, text: None,
        streamer: WordStreamer | None = None,
    ) -> list[Explanation]:
        columns, judged = self.context.build(frame, condition)
        written: dict[int, Generated] = {}
        with self._writing:
            for row, generated in generate(self.model, self.tokenizer, columns, generation, seed, streamer):
                written[row] = generated
                advance(1, "")
            shares = self._expert_shares(columns, written) if experts else None
        ratings = self.catalog.scale.to_rating(judged.level)
        said = self.context.evidence_of(columns, judged, evidence)
        return [
            Explanation(
                user=user,
                item=item,
                text=written[row].text,
                rating=float(ratings[row]),
                cluster=int(judged.cluster[row]),
                responsibilities=[float(gamma) for gamma in judged.responsibilities[row]],
                cold_user=bool(columns.user_id[row] == 0),
                cold_item=bool(columns.item_id[row] == 0),
                finished=written[row].finished,
                feature=columns.feature[row],
                conditions=condition.to_dict() | {"evidence": self.context.quoted},
                experts=shares[row] if shares else None,
                evidence=said[row],
            )
            for row, (user, item) in enumerate(frame.select("user", "item").iter_rows())
        ]

    def _generation(self, decoding: dict[str, Any]) -> GenerationConfig:
        settings = {**self.model.generation_config.to_dict(), **decoding}
        if decoding.get("temperature") == 0:
            settings |= {"do_sample": False, "temperature": None}
        return GenerationConfig.from_dict(settings)

    def recommend(self, user: Any, top: int = 10) -> pl.DataFrame:
        """Items without a training review by the user, best predicted rating first: item_id, item, title, rating."""
        user_id = self.catalog.user_id(user)
        candidates = np.setdiff1d(np.arange(1, self.catalog.n_items + 1), self.catalog.seen(user_id))
        level = self.predict_preference(np.full(len(candidates), user_id), candidates).level
        best = np.argsort(-level, kind="stable")[:top]
        chosen = candidates[best]
        named = self.catalog.items[(chosen - 1).tolist()]
        return pl.DataFrame(
            {
                "item_id": chosen,
                "item": named["item"],
                "title": named["title"],
                "rating": np.asarray(self.catalog.scale.to_rating(level[best]), dtype=np.float64),
            }
        )

    def expert_report(self, reviews: pl.DataFrame) -> ExpertReport:
        """How the gates would route these reviews (user, item, text; others ignored); `print` it for a summary."""
        frame = as_frame(reviews)
        if frame.is_empty():
            raise DataError("an expert report needs reviews, and there are none")
        columns, judged = self.context.build(frame, Condition(rating="none"))
        counts_NLE = usage_of_texts(
            self.model, self.tokenizer, columns, given_column(frame, "text").fill_null("").to_list()
        )
        layers = self.model.config.moe_layers or list(range(counts_NLE.shape[1]))
        return ExpertReport.count(counts_NLE.numpy(), judged.cluster, sorted(layers))

    def _expert_shares(self, columns: PairContext, written: dict[int, Generated]) -> list[list[list[float]]]:
        counts_NLE = expert_usage(self.model, columns, [written[row] for row in range(len(columns))])
        return (counts_NLE / counts_NLE.sum(-1, keepdim=True).clamp_min(1)).tolist()


def one_pair(user: Any, item: Any, rating: float | None, feature: str | None) -> tuple[pl.DataFrame, Condition]:
    """One pair as a frame; what is passed is given."""
    frame = pl.DataFrame({"user": [str(user)], "item": [str(item)]})
    if rating is not None:
        frame = frame.with_columns(rating=pl.lit(float(rating)))
    if feature is not None:
        frame = frame.with_columns(feature=pl.lit(feature))
    return frame, Condition("predicted" if rating is None else "given", "predicted" if feature is None else "given")


def as_frame(pairs: pl.DataFrame | Sequence[tuple[Any, Any]]) -> pl.DataFrame:
    """A frame with user and item as strings; other columns are kept."""
    if not isinstance(pairs, pl.DataFrame):
        pairs = pl.DataFrame(
            {"user": [str(user) for user, _ in pairs], "item": [str(item) for _, item in pairs]},
            schema={"user": pl.String, "item": pl.String},
        )
    for name in ("user", "item"):
        if name not in pairs.columns:
            raise DataError(f"pairs need a column {name}; found {', '.join(pairs.columns)}")
    return pairs.with_columns(pl.col("user", "item").cast(pl.String))
