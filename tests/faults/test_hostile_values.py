"""Values of files are data: never a command to a terminal, a special token, a pattern, or an address in memory."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gavamoe.conditions import Condition
from gavamoe.data.prepare import PrepareOptions, prepare
from gavamoe.data.readers.open import ReadOptions
from gavamoe.errors import DataError, InputError, printable
from gavamoe.language.encoding import PromptEncoder, encode_texts
from gavamoe.language.prompt import END, SPECIAL_TOKENS, PromptFields
from gavamoe.language.tokenizer import special_token_id
from gavamoe.pipeline.explain_file import explain_file


def _gavamoe(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gavamoe", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


# --- messages ---


@given(st.text())
def test_a_message_is_one_printable_line_of_bounded_length(text):
    message = str(InputError(f"value {text * 50} is wrong"))
    assert all(character.isprintable() or character in "\u200c\u200d" for character in message)
    assert len(message) <= 10 * 1100
    message.encode("utf-8")


def test_a_long_value_leaves_the_advice_of_a_message():
    message = str(InputError(f"the file x has the rating '{'9' * 65_000}'; leave the row out"))
    assert message.startswith("the file x has the rating '999")
    assert message.endswith("'; leave the row out")
    assert len(message) < 1100


def test_ordinary_text_stays_as_it_is():
    for text in ("naïve  café", "中文 评论", "مرحبا", "a\u00a0b".replace("\u00a0", " "), "می\u200cخواهم", "👩‍🍳"):
        assert printable(text) == text
    assert printable("\x1b[31mred\x00\u202e\ud800") == "\\x1b[31mred\\x00\\u202e\\ud800"


def test_the_command_line_prints_no_control_characters_of_a_file(tmp_path):
    rows = [{"user": f"u{n}", "item": "i", "rating": 3, "text": "a fine film"} for n in range(20)]
    rows[7]["rating"] = "\x1b]0;owned\x07" + "A" * 65_000
    path = tmp_path / "r.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    done = _gavamoe("prepare", path, "--out", tmp_path / "data")
    assert done.returncode == 2
    assert len(done.stderr) < 2000
    assert "\x1b" not in done.stderr
    assert "\x07" not in done.stderr


# --- special tokens ---

TEXTS = [f"a fine {token} film{END} here" for token in (END, *SPECIAL_TOKENS)]


@pytest.mark.parametrize("text", TEXTS)
def test_names_of_special_tokens_in_a_review_are_plain_text(text, explainer):
    tokenizer = explainer.tokenizer
    special = set(tokenizer.all_special_ids)
    ((*ids, end),) = encode_texts(tokenizer, [text], 200)
    assert end == tokenizer.eos_token_id
    assert special.isdisjoint(ids)
    assert tokenizer.decode(ids, skip_special_tokens=True).strip() == text


@pytest.mark.parametrize("text", TEXTS)
def test_names_of_special_tokens_in_a_prompt_are_plain_text(text, explainer):
    tokenizer = explainer.tokenizer
    special = set(tokenizer.all_special_ids)
    encode = PromptEncoder(tokenizer)
    expected = [token for token in encode(PromptFields(3, "film", ("a sentence",))) if token in special]
    assert [token for token in encode(PromptFields(3, text, (text,))) if token in special] == expected
    assert special_token_id(tokenizer, END) not in encode(PromptFields(None, text))


# --- prepare ---


@pytest.mark.slow
def test_the_card_is_the_same_under_every_hash_seed(reviews_file, tmp_path):
    cards = []
    for seed in ("0", "1", "2"):
        out = tmp_path / seed / "data"
        assert _gavamoe("prepare", reviews_file, "--out", out, PYTHONHASHSEED=seed).returncode == 0
        cards.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert cards[0] == cards[1] == cards[2]


@pytest.mark.parametrize(
    "value", [np.array([1, 2]), [np.array([1])], b"\xff\xfe\xfd"], ids=["array", "nested", "bytes"]
)
@pytest.mark.parametrize("column", ["user", "item", "text"])
def test_a_pickled_value_without_a_text_is_refused_by_name(column, value, tmp_path):
    rows = [{"user": f"u{n % 4}", "item": f"i{n}", "rating": 1 + n % 5, "text": "a good story"} for n in range(20)]
    rows[11][column] = value
    path = tmp_path / "rows.pickle"
    path.write_bytes(pickle.dumps(rows))
    with pytest.raises(DataError, match=f"column {column} of record 12 is"):
        prepare([str(path)], tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_pickled_bytes_in_utf_8_are_text(tmp_path):
    rows = [{"user": b"u%d" % (n % 4), "item": f"i{n}", "rating": 1 + n % 5, "text": b"caf\xc3\xa9"} for n in range(20)]
    path = tmp_path / "rows.pickle"
    path.write_bytes(pickle.dumps(rows))
    prepare([str(path)], tmp_path / "data")
    import polars as pl

    frame = pl.read_parquet(tmp_path / "data" / "interactions.parquet")
    assert set(frame["user"]) == {"u0", "u1", "u2", "u3"}
    assert set(frame["text"]) == {"café"}


def test_a_text_column_that_is_not_there_is_refused(tmp_path, write_lines, reviews):
    flat = write_lines("flat.jsonl", [{"user": r["user"], "item": r["item"], "rating": r["rating"]} for r in reviews])
    with pytest.raises(DataError, match=r"has no column review\.text"):
        prepare([str(flat)], tmp_path / "data", PrepareOptions(read=ReadOptions(columns={"text": "review.text"})))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="needs /dev/fd")
def test_a_pipe_is_read_whole(tmp_path, write_lines, reviews):
    rows = [{**row, "user": f"{row['user']}-{copy}", "text": row["text"] * 5} for copy in range(60) for row in reviews]
    path = write_lines("many.jsonl", rows)
    for source in (f"<(cat {path})", "/dev/stdin"):
        out = tmp_path / f"data{len(source)}"
        command = f"cat {path} | {sys.executable} -m gavamoe prepare {source} --out {out} --json"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert sum(json.loads(done.stdout)["splits"]["sizes"].values()) == len(rows)


def test_explanations_do_not_replace_the_file_of_pairs(explainer, tmp_path):
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("user,item\nu01,i03\n")
    (tmp_path / "link.csv").symlink_to(pairs)
    for out in (pairs, tmp_path / "link.csv", tmp_path / "." / "pairs.csv"):
        with pytest.raises(InputError, match="overwritten"):
            explain_file(explainer, pairs, out, Condition())
    assert pairs.read_text() == "user,item\nu01,i03\n"
