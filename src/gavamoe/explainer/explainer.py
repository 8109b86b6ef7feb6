"""The way in: `Explainer.from_pretrained(RUN).explain(user=..., item=...)`."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from safetensors import SafetensorError
from transformers import AutoTokenizer, GenerationConfig, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from gavamoe.data.catalog import Catalog
from gavamoe.errors import DataError, InputError, RunError
from gavamoe.explainer.clusters import GateClusters
from gavamoe.explainer.examples import PairColumns, PromptEncoder
from gavamoe.explainer.expert_report import ExpertReport
from gavamoe.explainer.expert_use import expert_use, text_use
from gavamoe.explainer.explanation import Explanation
from gavamoe.explainer.features import FeaturePredictor
from gavamoe.explainer.generation import Generated, generate
from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.explainer.prompt import Condition
from gavamoe.explainer.streaming import WordStreamer
from gavamoe.explainer.streaming import stream as stream_words
from gavamoe.explainer.tuning import load_model
from gavamoe.preference.model import PreferenceModel
from gavamoe.progress import Advance, track
from gavamoe.run import CATALOG_FILES, EXPLAINER_FILES, PREFERENCE_FILES, RunDirectory
from gavamoe.runtime import default_device


@dataclass
class Judgement:
    """Stage 1's word on N pairs: expected level [N] in 1..R, responsibilities [N, K], and the gate's cluster [N]."""

    level: np.ndarray
    responsibilities: np.ndarray
    cluster: np.ndarray


class Explainer:
    """Both stages of a run with the names of its users and items."""

    def __init__(
        self,
        preference: PreferenceModel,
        model: GavamoeForCausalLM,
        tokenizer: PreTrainedTokenizerBase,
        catalog: Catalog,
        features: FeaturePredictor,
        clusters: GateClusters | None = None,
    ):
        self.preference, self.model, self.tokenizer = preference.eval(), model.eval(), tokenizer
        self.catalog, self.features = catalog, features
        self.clusters = clusters or GateClusters("model", preference.clusters)
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
        clusters = GateClusters.load(directory.explainer, preference)
        return cls(preference, model, tokenizer, catalog, FeaturePredictor.load(directory.explainer), clusters)

    def prompt_ids(self, level: int | None, feature: str | None) -> list[int]:
        """Token ids of the prompt that states these facts."""
        return PromptEncoder(self.tokenizer)(level, feature)

    def judge(self, user_id: np.ndarray, item_id: np.ndarray) -> Judgement:
        """Rating and cluster of pairs of ids, without writing a text."""
        user, item = (torch.from_numpy(np.array(ids, dtype=np.int64)) for ids in (user_id, item_id))
        level = self.preference.predict_rating(user, item).cpu().numpy()
        gamma = self.preference.responsibilities(user, item).cpu().numpy()
        return Judgement(level, gamma, self.clusters.of(self.preference, user_id, item_id))

    def explain(
        self, user: Any, item: Any, rating: float | None = None, feature: str | None = None, **decoding: Any
    ) -> Explanation:
        """Explain one pair; a `rating` or `feature` passed is taken as given. `decoding`: see `explain_batch`."""
        return self.explain_batch(*_one(user, item, rating, feature), experts=True, **decoding)[0]

    def stream(
        self,
        user: Any,
        item: Any,
        rating: float | None = None,
        feature: str | None = None,
        seed: int = 0,
        **decoding: Any,
    ) -> Generator[str, None, Explanation]:
        """Yield the words of `explain(...)` as they are written; joined they are its text, exactly.

        The generator's return value is the explanation. Beams are settled only at the end, so there the text comes
        whole. Closing the generator stops the writing.
        """
        frame, condition = _one(user, item, rating, feature)
        generation = self._generation(decoding)
        written: list[Explanation] = []

        def write(streamer: WordStreamer | None) -> None:
            written.extend(
                self._explain(_as_frame(frame), condition, generation, seed, experts=True, streamer=streamer)
            )

        if (generation.num_beams or 1) > 1:
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
        advance: Advance | None = None,
        **decoding: Any,
    ) -> list[Explanation]:
        """Explain many pairs, in their order.

        pairs: a frame with user and item (and rating, feature where the condition says `given`), or (user, item)
        tuples. `decoding` overrides the run's generation settings (do_sample, num_beams, ...: as in transformers).
        Where they sample, another `seed` gives another text; a pair's text never depends on the rest of the batch.
        `advance` moves the caller's progress bar; without one there is a bar for this call.
        """
        frame, generation = _as_frame(pairs), self._generation(decoding)
        if advance is not None:
            return self._explain(frame, condition, generation, seed, experts, advance)
        with track("explanations", len(frame)) as own:
            return self._explain(frame, condition, generation, seed, experts, own)

    def _explain(
        self,
        frame: pl.DataFrame,
        condition: Condition,
        generation: GenerationConfig,
        seed: int,
        experts: bool,
        advance: Advance = lambda steps, text: None,
        streamer: WordStreamer | None = None,
    ) -> list[Explanation]:
        columns, judged = self._columns(frame, condition)
        written: dict[int, Generated] = {}
        with self._writing:
            for row, generated in generate(self.model, self.tokenizer, columns, generation, seed, streamer):
                written[row] = generated
                advance(1, "")
            shares = self._expert_shares(columns, written) if experts else None
        ratings = self.catalog.scale.to_rating(judged.level)
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
                conditions=condition.to_dict(),
                experts=shares[row] if shares else None,
            )
            for row, (user, item) in enumerate(frame.select("user", "item").iter_rows())
        ]

    def _generation(self, decoding: dict[str, Any]) -> GenerationConfig:
        return GenerationConfig.from_dict({**self.model.generation_config.to_dict(), **decoding})

    def recommend(self, user: Any, top: int = 10) -> pl.DataFrame:
        """Items without a training review by the user, best predicted rating first: item_id, item, title, rating."""
        user_id = self.catalog.user_id(user)
        candidates = np.setdiff1d(np.arange(1, self.catalog.n_items + 1), self.catalog.seen(user_id))
        level = self.judge(np.full(len(candidates), user_id), candidates).level
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
        frame = _as_frame(reviews)
        columns, judged = self._columns(frame, Condition(rating="none"))
        counts_NLE = text_use(self.model, self.tokenizer, columns, _given(frame, "text").fill_null("").to_list())
        layers = self.model.config.moe_layers or list(range(counts_NLE.shape[1]))
        return ExpertReport.count(counts_NLE.numpy(), judged.cluster, sorted(layers))

    def _expert_shares(self, columns: PairColumns, written: dict[int, Generated]) -> list[list[list[float]]]:
        counts_NLE = expert_use(self.model, columns, [written[row] for row in range(len(columns))])
        return (counts_NLE / counts_NLE.sum(-1, keepdim=True).clamp_min(1)).tolist()

    def _columns(self, frame: pl.DataFrame, condition: Condition) -> tuple[PairColumns, Judgement]:
        users, items = frame["user"].to_list(), frame["item"].to_list()
        user_id = np.array([self.catalog.user_id(name) for name in users], dtype=np.int64)
        item_id = np.array([self.catalog.item_id(name) for name in items], dtype=np.int64)
        judged = self.judge(user_id, item_id)
        count = len(frame)
        level: Sequence[int | None] = [None] * count
        if condition.rating == "predicted":
            level = np.rint(judged.level).astype(int).tolist()
        elif condition.rating == "given":
            level = self.catalog.scale.to_level(_given(frame, "rating")).to_list()
        feature: Sequence[str | None] = [None] * count
        if condition.feature == "predicted":
            feature = self.features.predict(user_id, item_id)
        elif condition.feature == "given":
            feature = _given(frame, "feature").to_list()
        return PairColumns(user_id, item_id, judged.cluster, level, feature), judged


def _one(user: Any, item: Any, rating: float | None, feature: str | None) -> tuple[pl.DataFrame, Condition]:
    """One pair as a frame; what is passed is given."""
    frame = pl.DataFrame({"user": [str(user)], "item": [str(item)]})
    if rating is not None:
        frame = frame.with_columns(rating=pl.lit(float(rating)))
    if feature is not None:
        frame = frame.with_columns(feature=pl.lit(feature))
    return frame, Condition("predicted" if rating is None else "given", "none" if feature is None else "given")


def _as_frame(pairs: pl.DataFrame | Sequence[tuple[Any, Any]]) -> pl.DataFrame:
    if not isinstance(pairs, pl.DataFrame):
        pairs = pl.DataFrame(
            {"user": [str(user) for user, _ in pairs], "item": [str(item) for _, item in pairs]},
            schema={"user": pl.String, "item": pl.String},
        )
    for name in ("user", "item"):
        if name not in pairs.columns:
            raise DataError(f"pairs need a column {name}; found {', '.join(pairs.columns)}")
    return pairs.with_columns(pl.col("user", "item").cast(pl.String))


def _given(frame: pl.DataFrame, name: str) -> pl.Series:
    if name not in frame.columns or frame[name].null_count() == len(frame) > 0:
        raise DataError(
            f"the condition {name}=given needs a column {name} with values; choose {name}=predicted or none"
        )
    return frame[name]
