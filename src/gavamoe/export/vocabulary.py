"""Users and items as rows of the vocabulary, so that a prompt is plain text: `<|user:u17|><|item:i4|>...`.

    <|user:NAME|>, <|item:NAME|>   the projected soft tokens
    <|user|>, <|item|>             the unknown user and item
    <|rating:X|>, <|feature:X|>    token X inside a field: its embedding plus that of the field's opening token; only
                                   in runs whose model marks fields so (`GavamoeConfig.fact_token_ids`)

Output weights of new rows are a copy of those of `<|user|>`, which no text contains. So a new token is never likelier
than that one, and generation_config.json suppresses all of them.

Shape suffixes: N new rows, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl
import torch
from tokenizers import AddedToken
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from gavamoe.conditions import Condition
from gavamoe.errors import ConfigError, DataError
from gavamoe.explainer.configuration import GavamoeConfig
from gavamoe.explainer.explainer import Explainer
from gavamoe.export.soft_tokens import projected
from gavamoe.files import write_json, write_json_lines
from gavamoe.language.encoding import PromptEncoder
from gavamoe.language.prompt import PromptFields

INCOMPLETE = "\N{REPLACEMENT CHARACTER}"  # what a token that is a part of a character is decoded to
INDEX, PROMPTS = "vocabulary.json", "prompts.jsonl"


@dataclass(frozen=True)
class VocabularyRows:
    """New tokens and their input embeddings.

    Attributes:
        tokens: names of the new tokens, in the order of their ids.
        rows_NH: their input embeddings, in the space of the stock checkpoint.
        unknown_2H: input embeddings of the unknown user and item, for the tokens of the prompt that exist already.
        users: token of each user by name.
        items: token of each item by name.
        in_field: new token by (token that opens the field, token inside it), as ids.
        ratings: text of the prompt's field for each rating level; empty if fields need no tokens of their own.
        features: likewise for each feature.
    """

    tokens: list[str]
    rows_NH: Tensor
    unknown_2H: Tensor
    users: dict[str, str]
    items: dict[str, str]
    in_field: dict[tuple[int, int], str]
    ratings: dict[str, str]
    features: dict[str, str]


@torch.no_grad()
def vocabulary_rows(explainer: Explainer, users: Sequence[str], items: Sequence[str]) -> VocabularyRows:
    """Return the rows for users and items of a run.

    Args:
        explainer: the run.
        users: names of known users.
        items: names of known items.

    Raises:
        DataError: The run does not know a name.
        ConfigError: The run's prompts cannot be written with rows.
    """
    model, config = explainer.model, explainer.model.config
    if config.fact_token_ids and config.evidence:
        raise ConfigError(
            "--users: this run's model marks every token of the sentences that it quotes (explainer.evidence), which "
            "rows of the vocabulary cannot do; leave --users out and use soft_tokens/vectors.safetensors"
        )
    found = {"user": _ids(explainer, "user", users), "item": _ids(explainer, "item", items)}
    names = {kind: {name: f"<|{kind}:{name}|>" for name in ids} for kind, ids in found.items()}
    tables = {"user": projected(model, model.user_token), "item": projected(model, model.item_token)}
    rows = [tables[kind][list(ids.values())] for kind, ids in found.items()]
    in_field, ratings, features = _field_tokens(explainer)
    embeddings_VH = model.get_input_embeddings().weight
    for opening, token in in_field:
        rows.append((embeddings_VH[token] + embeddings_VH[opening])[None] * config.embedding_scale)
    return VocabularyRows(
        tokens=[*names["user"].values(), *names["item"].values(), *in_field.values()],
        rows_NH=torch.cat(rows),
        unknown_2H=torch.stack([tables["user"][0], tables["item"][0]]),
        users=names["user"],
        items=names["item"],
        in_field=in_field,
        ratings=ratings,
        features=features,
    )


def _ids(explainer: Explainer, kind: str, names: Sequence[str]) -> dict[str, int]:
    """Return the id of each name, each name once."""
    look_up = explainer.catalog.user_id if kind == "user" else explainer.catalog.item_id
    ids = {name: look_up(name) for name in names}
    unknown = [name for name, number in ids.items() if number == 0]
    if unknown:
        more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
        raise DataError(
            f"--users: the run has no {kind} {unknown[0]}{more}; leave it out: the plain <|{kind}|> stands for all "
            "unknown ones"
        )
    return ids


def _field_tokens(explainer: Explainer) -> tuple[dict[tuple[int, int], str], dict[str, str], dict[str, str]]:
    """Return the tokens inside fields, and the field's text for each rating level and feature."""
    config, tokenizer = explainer.model.config, explainer.tokenizer
    in_field: dict[tuple[int, int], str] = {}
    if not config.fact_token_ids:
        return in_field, {}, {}
    encode = PromptEncoder(tokenizer, explainer.context.template)
    names = sorted({*explainer.catalog.features, *explainer.context.features.background["feature"].to_list()})
    fields = {("rating", str(level)): PromptFields(level) for level in range(1, explainer.catalog.scale.levels + 1)}
    fields |= {("feature", name): PromptFields(feature=name) for name in names}
    texts: dict[str, dict[str, str]] = {"rating": {}, "feature": {}}
    for (kind, value), stated in fields.items():
        field = ""
        for token, opening in openings(encode(stated), config):
            if opening is not None:
                in_field[opening, token] = _field_token(tokenizer, opening, token)
                field += in_field[opening, token]
            elif token in config.fact_token_ids:
                field += str(tokenizer.convert_ids_to_tokens(token))
        texts[kind][value] = field
    return in_field, texts["rating"], texts["feature"]


def _field_token(tokenizer: PreTrainedTokenizerBase, opening: int, token: int) -> str:
    name, text = str(tokenizer.convert_ids_to_tokens(opening)).removesuffix("|>"), tokenizer.decode([token])
    return f"{name}:{text}|>" if INCOMPLETE not in text else f"{name}:#{token}|>"


def openings(ids: Sequence[int], config: GavamoeConfig) -> Iterator[tuple[int, int | None]]:
    """Yield each token with the token that opens the field it is in; None outside fields."""
    opening = None
    for token in ids:
        if token == config.text_token_id or token in config.fact_token_ids:
            opening = None if token == config.text_token_id else token
            yield token, None
        else:
            yield token, opening


def prompt_text(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """Return the text of a prompt; decoding alone would change names of tokens that are not plain English."""
    added = tokenizer.added_tokens_decoder
    parts = [
        "".join(map(str, tokenizer.convert_ids_to_tokens(list(run)))) if is_added else tokenizer.decode(list(run))
        for is_added, run in groupby(ids, key=lambda token: token in added)
    ]
    return "".join(parts)


def append_rows(
    rows: VocabularyRows, state: dict[str, Tensor], tokenizer: PreTrainedTokenizerBase, config: GavamoeConfig
) -> list[int]:
    """Add the tokens to the tokenizer and the rows to the embeddings of a stock state dict, both in place.

    Raises:
        ConfigError: The tokenizer has a token of one of the new names.

    Returns:
        The ids of the new tokens.
    """
    start = len(tokenizer)
    added = tokenizer.add_tokens([AddedToken(name, special=True, normalized=False) for name in rows.tokens])
    if added != len(rows.tokens):
        raise ConfigError("--users: the tokenizer has a token of the name of a user's or item's already; leave it out")
    end = start + len(rows.tokens)
    marks = config.user_token_id, config.item_token_id
    embeddings_VH = _enlarged(state["model.embed_tokens.weight"], end)
    embeddings_VH[start:end] = rows.rows_NH
    embeddings_VH[list(marks)] = rows.unknown_2H
    head_VH = _enlarged(state["lm_head.weight"], end)
    head_VH[start:end] = head_VH[config.user_token_id]
    state["model.embed_tokens.weight"], state["lm_head.weight"] = embeddings_VH, head_VH
    return list(range(start, end))


def _enlarged(table_VH: Tensor, size: int) -> Tensor:
    """Return a copy with at least `size` rows."""
    return torch.nn.functional.pad(table_VH, (0, 0, 0, max(0, size - len(table_VH)))).clone()


def write_vocabulary(rows: VocabularyRows, directory: Path) -> None:
    """Write vocabulary.json: the token of each user and item, and the text of each field."""
    index = {name: getattr(rows, name) for name in ("users", "items", "ratings", "features")}
    write_json(directory / INDEX, index)


def write_prompts(
    explainer: Explainer, rows: VocabularyRows, pairs: pl.DataFrame, cluster: int, directory: Path
) -> dict[int, int]:
    """Write prompts.jsonl, the prompts of those pairs that have the gate, with rating and feature predicted.

    Args:
        explainer: the run, whose tokenizer has the new tokens.
        rows: the rows of all users and items of the pairs that the run knows.
        pairs: columns user and item.
        cluster: whose gate the checkpoint has.
        directory: where to write.

    Returns:
        How many pairs each gate has.
    """
    context, predicted = explainer.context.build(pairs, Condition())
    encode = PromptEncoder(explainer.tokenizer, explainer.context.template)
    ratings = explainer.catalog.scale.to_rating(predicted.level)
    names: list[tuple[str, str]] = list(pairs.select("user", "item").iter_rows())

    def written() -> Iterator[dict[str, Any]]:
        for row in (context.gate == cluster).nonzero()[0].tolist():
            ids = with_rows(encode(context.fields(row)), rows, names[row], explainer)
            yield {
                "user": names[row][0],
                "item": names[row][1],
                "rating": float(ratings[row]),
                "feature": context.feature[row],
                "prompt": prompt_text(explainer.tokenizer, ids),
                "prompt_token_ids": ids,
            }

    write_json_lines(directory / PROMPTS, written())
    gates, counts = pl.Series(context.gate).value_counts(sort=False).sort("").get_columns()
    return dict(zip(gates.to_list(), counts.to_list(), strict=True))


def with_rows(ids: Sequence[int], rows: VocabularyRows, pair: tuple[str, str], explainer: Explainer) -> list[int]:
    """Return the token ids of a prompt with the rows of its user and item, if they have one, and of its fields."""
    config, to_id = explainer.model.config, explainer.tokenizer.convert_tokens_to_ids
    user, item = pair
    tokens = {config.user_token_id: rows.users.get(user), config.item_token_id: rows.items.get(item)}
    found = []
    for token, opening in openings(ids, config):
        name = tokens.get(token) if opening is None else rows.in_field[opening, token]
        found.append(token if name is None else int(to_id(name)))
    return found
