"""The entry point to a trained run: `Explainer.from_pretrained(RUN).explain(user=..., item=...)`.

explain, stream, explain_batch --> _explain: context -> generate -> expert usage, evidence -> Explanation
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Generator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from gavamoe.checkpoint import check_finite, loading
from gavamoe.conditions import Condition, given_column
from gavamoe.distributed import default_device
from gavamoe.errors import ConfigError, DataError
from gavamoe.explainer.context import ContextBuilder, PairContext, PreferenceOutput, pair_frame, single_pair
from gavamoe.explainer.evidence import EvidenceIndex
from gavamoe.explainer.expert_usage import (
    ExpertReport,
    TokenExperts,
    expert_usage,
    experts_by_token,
    has_experts,
    usage_of_texts,
)
from gavamoe.explainer.explanation import Explanation, UserSource
from gavamoe.explainer.generate import GeneratedText, generate
from gavamoe.explainer.guests import context_with_guests, model_with_guests
from gavamoe.explainer.hub import find_run, push_run, save_run
from gavamoe.explainer.lora import load_model
from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.explainer.streaming import TextReader
from gavamoe.explainer.streaming import stream as stream_words
from gavamoe.explainer.text_loss import text_losses
from gavamoe.files import reading
from gavamoe.language.decoding_config import DecodingConfig
from gavamoe.language.encoding import PromptEncoder, encode_texts
from gavamoe.language.quiet import quiet_transformers
from gavamoe.language.rarity import RARITY_SENTENCES, Rarity
from gavamoe.preference.history import History, estimate_guests
from gavamoe.preference.recommender import Recommender
from gavamoe.progress import Advance, track
from gavamoe.run import CATALOG_FILES, EXPLAINER_FILES, PREFERENCE_FILES, RunCard, RunDirectory

EVIDENCE = 3  # sentences returned beside the text of a single pair
RARITY_TOKENS = 256  # the longest training sentence that rarity is counted in


def _training_rarity(tokenizer: PreTrainedTokenizerBase, evidence: EvidenceIndex) -> Rarity | None:
    """Return how rare tokens are in the run's training sentences; None for a run that is shared without them."""
    sentences = evidence.sample_sentences(RARITY_SENTENCES)
    encoded = encode_texts(tokenizer, sentences, RARITY_TOKENS)
    return Rarity.fit(ids[:-1] for ids in encoded) if sentences else None


def _check_count(name: str, values: Sequence[Any] | None, pairs: pl.DataFrame) -> None:
    """Raise `DataError` if there are values, but not one for each pair."""
    if values is not None and len(values) != len(pairs):
        raise DataError(f"{name}: expected one for each of {len(pairs)} pairs, found {len(values)}")


class Explainer:
    """Both stages of a run, with the names of its users and items.

    Args:
        context: everything of the run but its language model.
        model: stage 2's language model.
        tokenizer: the model's.
        card: how the run was made.

    Attributes:
        decoding: how the run decodes texts; a call may override it.
        prompt: encodes prompts.
        preference: stage 1.
        catalog: names, rating scale and training history.
    """

    def __init__(
        self, context: ContextBuilder, model: GavamoeForCausalLM, tokenizer: PreTrainedTokenizerBase, card: RunCard
    ):
        self.context, self.model, self.tokenizer, self.card = context, model.eval(), tokenizer, card
        self.preference, self.catalog = context.preference.eval(), context.catalog
        self.prompt = PromptEncoder(tokenizer, context.template)
        self.decoding = DecodingConfig.from_generation_config(model.generation_config)
        self._model_lock = threading.Lock()  # the model's routing state serves one batch at a time
        self._rarity = cache(partial(_training_rarity, tokenizer, context.evidence))  # counted on first use

    @classmethod
    @quiet_transformers()
    def from_pretrained(
        cls,
        run: Path | str,
        device: str | torch.device | None = None,
        verify: bool = False,
        revision: str | None = None,
        as_saved: bool = False,
    ) -> Explainer:
        """Load a run directory, or a run of the Hugging Face hub.

        Args:
            run: a directory that `gavamoe train` or `save_pretrained` wrote. A string that names no directory may be
                the hub id of a repository that `push_to_hub` wrote.
            device: where to run; a GPU by default, if there is one.
            verify: whether the checksums of large files are checked too, which reads them as a whole.
            revision: branch, tag or commit of a repository of the hub.
            as_saved: whether the language model keeps the precision of its file, to be saved again. Otherwise a
                model in bf16 becomes float32 on a CPU without AVX512-bf16 or AMX, or if its width is below 512.

        Raises:
            RunError: A file is missing, damaged or of another run; the message names it.
        """
        device = default_device() if device is None else device
        run = find_run(run, revision)
        directory = RunDirectory(run)
        directory.require(*CATALOG_FILES, *PREFERENCE_FILES, *EXPLAINER_FILES)
        stage_1 = Recommender.from_pretrained(run, device, verify)  # which checks the seal of the whole run
        with loading(run):
            model = load_model(directory.explainer).to(device)
            if not as_saved:
                model.suit_cpu()
            check_finite(model.state_dict().items(), directory.explainer)
            tokenizer = AutoTokenizer.from_pretrained(directory.explainer, trust_remote_code=False)
        with reading(directory.explainer):
            stage_2, quotations = directory.explainer, (model.config.evidence, model.config.history)
            context = ContextBuilder.load(stage_2, stage_1.preference, stage_1.catalog, *quotations)
            return cls(context, model, tokenizer, directory.read_card())

    def save_pretrained(self, directory: Path | str) -> None:
        """Write the run as `from_pretrained` reads it, with LoRA factors merged; an earlier save is replaced.

        Raises:
            RunError: The directory holds something else, or a run with the records of its training.
        """
        save_run(self, Path(directory))

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Write what `save_pretrained` writes to a repository of the Hugging Face hub; return the commit's address.

        Args:
            repo_id: `OWNER/NAME`.
            options: private, token, commit_message, revision and create_pr, as in transformers.
        """
        return push_run(self, repo_id, **options)

    def explain(
        self,
        user: Any,
        item: Any,
        rating: float | None = None,
        feature: str | None = None,
        evidence: int = EVIDENCE,
        history: History | None = None,
        condition: Condition | None = None,
        **options: Any,
    ) -> Explanation:
        """Explain one pair.

        Args:
            user: name of the user; any type, compared as text.
            item: name of the item.
            rating: rating to state in the prompt (condition `given`); None states the predicted one.
            feature: feature to state in the prompt (condition `given`); None states the predicted one.
            evidence: how many sentences by other users to return.
            history: rated items of the user, as in `explain_batch`.
            condition: where the prompt's rating and feature come from; None: those passed are given, others predicted.
            options: further arguments of `explain_batch`.
        """
        frame, implied = single_pair(user, item, rating, feature)
        options |= {"experts": True, "evidence": evidence, "histories": None if history is None else [history]}
        return self.explain_batch(frame, condition or implied, **options)[0]

    def stream(
        self,
        user: Any,
        item: Any,
        rating: float | None = None,
        feature: str | None = None,
        seed: int = 0,
        evidence: int = EVIDENCE,
        decoding: DecodingConfig | None = None,
        history: History | None = None,
        condition: Condition | None = None,
        **options: Any,
    ) -> Generator[str, None, Explanation]:
        """Yield the words of `explain(..., candidates=1)` as they are generated.

        Joined, the words are exactly its text. With beams or several drafts, the text is known only at the end and
        comes in one piece. Closing the generator stops generation. The arguments are those of `explain`.

        Returns:
            The explanation, as the generator's return value.
        """
        options = {"candidates": 1, "advance": lambda steps, text: None, **options}
        options |= {"seed": seed, "decoding": decoding}
        explanations: list[Explanation] = []

        def explain(reader: TextReader) -> None:
            explanations.append(
                self.explain(user, item, rating, feature, evidence, history, condition, readers=[reader], **options)
            )

        yield from stream_words(explain)
        return explanations[0]

    def explain_batch(
        self,
        pairs: pl.DataFrame | Sequence[tuple[Any, Any]],
        condition: Condition = Condition(),
        experts: bool = False,
        seed: int = 0,
        evidence: int = 0,
        advance: Advance | None = None,
        decoding: DecodingConfig | None = None,
        readers: Sequence[TextReader] | None = None,
        histories: Sequence[History | None] | None = None,
        **options: Any,
    ) -> list[Explanation]:
        """Explain many pairs and return the explanations in the order of the pairs.

        A pair's text never depends on the rest of the batch.

        Args:
            pairs: a frame with user and item (and rating, feature where the condition says `given`), or (user, item)
                tuples.
            condition: where the prompt's rating and feature come from.
            experts: whether to report which experts the texts are routed to.
            seed: of sampling; another seed gives another text.
            evidence: how many sentences by other users to return with each text.
            advance: moves the caller's progress bar; without one, this call has its own.
            decoding: how to decode; None is the run's `decoding`.
            readers: one for each pair, which receives the words of its text. A reader that leaves ends its text early.
            histories: one for each pair, or None where the user is known by name. A history is a list of rated items:
                mappings with the keys item, rating and, if there is one, text. The user is then estimated from the
                ratings alone, even if the run knows the name. A prompt in words quotes the texts as those of the user.
                An empty history is the unknown user.
            options: single settings of the decoding to replace (`DecodingConfig.with_options`): candidates,
                mbr_references, mbr_content_words, and generation options of transformers (do_sample, ...).

        Raises:
            DataError: A column that the condition needs is missing, a history is invalid, or there is not one reader or
                history for each pair.
            ConfigError: `evidence` is negative, or an option is unknown or out of range.
        """
        frame, decoding = pair_frame(pairs), (decoding or self.decoding).with_options(**options)
        if evidence < 0:
            raise ConfigError(f"evidence={evidence}: expected a number of sentences, 0 or more")
        _check_count("histories", histories, frame)
        _check_count("readers", readers, frame)
        view, guest_ids = self.with_guests(histories)
        settings = (frame, condition, decoding, seed, experts, evidence, guest_ids)
        if advance is not None:
            return view._explain(*settings, advance, readers)
        with track("explanations", len(frame)) as own_bar:
            return view._explain(*settings, own_bar, readers)

    def with_guests(self, histories: Sequence[History | None] | None) -> tuple[Explainer, np.ndarray | None]:
        """Return an explainer that also has a user for each history, and the user's id for each pair (-1: none)."""
        if histories is None or all(history is None for history in histories):
            return self, None
        guests, guest_ids = estimate_guests(histories, self.catalog, self.preference)
        if not guests:
            return self, guest_ids
        view = copy.copy(self)  # with the same lock, as the model's routing state is shared, and the same rarity
        view.context = context_with_guests(self.context, guests)
        view.preference = view.context.preference
        view.model = model_with_guests(self.model, [guest.estimate for guest in guests])
        return view, guest_ids

    def _explain(
        self,
        frame: pl.DataFrame,
        condition: Condition,
        decoding: DecodingConfig,
        seed: int,
        experts: bool,
        evidence: int,
        guest_ids: np.ndarray | None,
        advance: Advance,
        readers: Sequence[TextReader] | None,
    ) -> list[Explanation]:
        pairs, predicted = self.context.build(frame, condition, guest_ids)
        references = self.context.reference_sentences
        rarity = self._rarity() if decoding.mbr_content_words and decoding.num_drafts > 1 else None
        by_row: dict[int, GeneratedText] = {}
        with self._model_lock:
            for row, text in generate(
                self.model, self.prompt, pairs, decoding, seed, references, readers=readers, rarity=rarity
            ):
                by_row[row] = text
                if readers is not None and not readers[row].abandoned.is_set():
                    readers[row].finish(text.text)
                advance(1, "")
            texts = [by_row[row] for row in range(len(pairs))]
            routed = experts and bool(texts) and has_experts(self.model)
            counts_NLE = expert_usage(self.model, pairs, texts) if routed else None
        shares: list[list[list[float]]] | None = None
        if counts_NLE is not None:
            shares = (counts_NLE / counts_NLE.sum(-1, keepdim=True).clamp_min(1)).tolist()
        written = [(text.text, text.finished) for text in texts]
        return self.explanations(frame, pairs, predicted, condition, evidence, written, shares)

    def explanations(
        self,
        frame: pl.DataFrame,
        pairs: PairContext,
        predicted: PreferenceOutput,
        condition: Condition,
        evidence: int,
        texts: Sequence[tuple[str, bool]],
        shares: list[list[list[float]]] | None = None,
    ) -> list[Explanation]:
        """Return texts with what is known of their pairs.

        Args:
            frame: columns user and item.
            pairs: what the prompts state (`ContextBuilder.build`).
            predicted: stage 1's prediction.
            condition: where the prompts' rating and feature come from.
            evidence: sentences by other users for each pair.
            texts: each text, and whether it ended by itself.
            shares: of the experts by layer, for each text; None if they were not requested.
        """
        conditions = self.context.describe(condition)
        ratings = self.catalog.scale.to_rating(predicted.level)
        best_evidence = self.context.best_evidence(pairs, predicted, evidence)
        sources = [self.user_source(int(user_id)) for user_id in pairs.user_id]
        return [
            Explanation(
                user=user,
                item=item,
                text=texts[row][0],
                rating=float(ratings[row]),
                cluster=int(predicted.cluster[row]),
                responsibilities=[float(gamma) for gamma in predicted.responsibilities[row]],
                cold_user=sources[row] != "training",
                user_source=sources[row],
                cold_item=bool(pairs.item_id[row] == 0),
                finished=texts[row][1],
                feature=pairs.feature[row],
                conditions=conditions,
                experts=shares[row] if shares else None,
                evidence=best_evidence[row],
            )
            for row, (user, item) in enumerate(frame.select("user", "item").iter_rows())
        ]

    def user_source(self, user_id: int) -> UserSource:
        """Return where the embedding of a user id comes from; ids above those of the trained users are guests."""
        if user_id == 0:
            return "unknown"
        return "training" if user_id <= self.catalog.n_users else "history"

    def predict_preference(self, user_id: np.ndarray, item_id: np.ndarray) -> PreferenceOutput:
        """Predict rating and cluster of pairs of ids, int64 [N], without generating a text."""
        return self.context.predict_preference(user_id, item_id)

    def recommend(self, user: Any = None, top: int = 10, history: History | None = None) -> pl.DataFrame:
        """Return the items with the best predicted rating among those without a training review by the user.

        Args:
            user: name of the user; an unknown user gets the items that suit the unknown user.
            top: number of items.
            history: rated items (`explain_batch`). The user is then estimated from them alone, and they are not
                recommended. An empty history is the unknown user.

        Returns:
            Columns item_id, item, title, rating; best first.

        Raises:
            DataError: The history is invalid (`UserHistory.from_entries`).
        """
        return Recommender(self.preference, self.catalog).recommend(user, top, history)

    def token_experts(
        self, user: Any, item: Any, text: str, rating: float | None = None, feature: str | None = None
    ) -> list[TokenExperts]:
        """Return the experts that each token of a text about a pair is routed to.

        Args:
            user: name of the user.
            item: name of the item.
            text: the text, usually one that `explain` returned; what exceeds the longest text of a run is left out.
            rating: rating that the prompt states; None states the predicted one.
            feature: feature that the prompt states; None states the predicted one.
        """
        pairs, _ = self.context.build(*single_pair(user, item, rating, feature))
        with self._model_lock:
            return experts_by_token(self.model, self.prompt, pairs, text, self.decoding.max_new_tokens)

    def text_losses(
        self, pairs: pl.DataFrame | Sequence[tuple[Any, Any]], texts: Sequence[str], condition: Condition = Condition()
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the loss of given texts about pairs, in nats, and how many tokens they have with the end token, [N].

        Args:
            pairs: as in `explain_batch`.
            texts: a text for each pair; what exceeds the longest text of a run is left out.
            condition: where the prompt's rating and feature come from.

        Raises:
            DataError: A column that the condition needs is missing, or there is not one text for each pair.
        """
        frame = pair_frame(pairs)
        _check_count("texts", texts, frame)
        contexts, _ = self.context.build(frame, condition)
        longest = self.decoding.max_new_tokens - 1  # without the end token
        with self._model_lock:
            return text_losses(self.model, self.prompt, contexts, texts, longest)

    def expert_report(self, reviews: pl.DataFrame) -> ExpertReport:
        """Report how the gates route the texts of reviews (columns user, item, text).

        Raises:
            DataError: There are no reviews, or they lack a column.
            ConfigError: The run has no experts.
        """
        frame = pair_frame(reviews)
        if frame.is_empty():
            raise DataError("an expert report needs reviews, and there are none")
        pairs, _ = self.context.build(frame, Condition(rating="none"))
        texts = given_column(frame, "text").fill_null("").to_list()
        with self._model_lock:
            counts_NLE = usage_of_texts(self.model, self.prompt, pairs, texts)
        layers = self.model.config.moe_layers or list(range(counts_NLE.shape[1]))
        return ExpertReport.from_counts(counts_NLE.numpy(), pairs.gate, sorted(layers))
