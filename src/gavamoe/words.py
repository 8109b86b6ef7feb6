"""The words of a text in any language: one definition for metrics, counts, features, sentences, evidence and streams.

    "It's 2.5 stars"     --split_words-->       It's | 2.5 | stars            (white space)
                         --normalized_words-->  it | ' | s | 2.5 | stars      (the field's tables)
    "很好看。wifi快"     --either-->             很 | 好 | 看 | 。 | wifi | 快

`normalize_text` gives the normalized words as one text, `hash_text` a number of a text for an order that depends on
contents alone.

Scripts that write no blanks between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) have no words that a program
can read off. There each character is a word, as in sacrebleu's tokenizer for Chinese. Elsewhere a word is a run of
letters with their combining marks and joiners, after Unicode Standard Annex 29 (rules WB3c to WB5), composed (NFC).
A text in ASCII takes a path of its own, because most texts are and it is several times faster.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from zlib import crc32

import polars as pl
import regex

# Members of a character class, in the syntax that Python's `regex` and polars (Rust) share: letters of scripts without
# blanks, with the prolonged sound marks, which Unicode assigns to no script.
UNSPACED = (
    r"\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Yi}"
    r"\p{Tai_Le}\p{New_Tai_Lue}\p{Tai_Tham}\p{Tai_Viet}" + "\u30fc\uff70"
)
# One of these letters with its marks; a stacking sign (Khmer, Burmese) also binds the letter below.
CHARACTER = rf"[{UNSPACED}](?:[\u17d2\u1039]\p{{L}}|\p{{M}})*".replace(r"\u17d2\u1039", "\u17d2\u1039")
# Only a text with one of these can have other words than its parts between blanks, or another composed form: letters
# without blanks, combining marks, the parts of Korean syllables, compatibility letters that have a canonical form.
UNUSUAL = rf"[{UNSPACED}\p{{M}}" + "\u1100-\u11ff\u2126\u212a\u212b]"
# Punctuation of other scripts that ends or divides a sentence, by its ASCII counterpart.
ASCII_PUNCTUATION = {
    **dict.fromkeys("。．｡।॥۔։።", "."),
    **dict.fromkeys("！", "!"),
    **dict.fromkeys("？؟⸮", "?"),
    **dict.fromkeys("；؛", ";"),
    **dict.fromkeys("：", ":"),
    **dict.fromkeys("，、،､", ","),
    **dict.fromkeys("（", "("),
    **dict.fromkeys("）", ")"),
}

AS_GIVEN = "as given, split on white space"
CHARACTERS_ARE_WORDS = "in scripts without blanks each character is a word"
_WIDE_PUNCTUATION = r"\u3000-\u303f\uff01-\uff0f\uff1a-\uff20\u2026"
_JOINERS = "\u200c\u200d"  # zero-width: inside Persian and Indic words, and inside emoji
# A number, a word without its inner apostrophes and hyphens (as the field splits them), or one punctuation mark.
_ASCII_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+|\S")
_TOKEN = regex.compile(
    rf"""(?V1)
      \p{{Nd}}+ (?: [.,\u066b\u066c] \p{{Nd}}+ )*                                 # a number
    | {CHARACTER}                                                                # a character that is a word
    | (?: [[\p{{L}}\p{{Nl}}\p{{No}}]--[{UNSPACED}]] [\p{{M}}{_JOINERS}]* )+      # a word
    | [\U0001f1e6-\U0001f1ff]{{2}}                                               # a flag
    | \S (?: [\p{{M}}\U0001f3fb-\U0001f3ff] | \u200d\S )*                        # a mark or an emoji
    """,
    regex.VERBOSE,
)
_CHARACTER = regex.compile(rf"(?V1){CHARACTER}")
_CHARACTER_OR_MARK = regex.compile(rf"(?V1){CHARACTER}|[{_WIDE_PUNCTUATION}]")
_BLANK_BETWEEN_CHARACTERS = regex.compile(
    rf"(?V1)(?<=[{UNSPACED}{_WIDE_PUNCTUATION}]\p{{M}}*)\ (?=[{UNSPACED}{_WIDE_PUNCTUATION}])"
)
_WORD_OR_CHARACTER = regex.compile(rf"(?V1){CHARACTER}|[^\s{UNSPACED}]+")
_UNSPACED_LETTER = regex.compile(rf"(?V1)[{UNSPACED}]")
_OTHER_WORD = rf"[^\s{UNSPACED}]*[[\p{{L}}\p{{N}}]&&[^{UNSPACED}]][^\s{UNSPACED}]*"  # between blanks and characters
# A file is segmented (its author put blanks between the words of a script without blanks) if its texts have blanks
# and the letters between two blanks are this few on average. Clauses, which some authors separate, are longer.
_SEGMENT_LETTERS, _SEGMENTS_PER_TEXT = 3.0, 3


def split_words(text: str) -> list[str]:
    """Split a text on white space, and into single characters where its script has no blanks."""
    if text.isascii():
        return text.split()
    text = unicodedata.normalize("NFC", text)
    return (_CHARACTER_OR_MARK.sub(r" \g<0> ", text) if _UNSPACED_LETTER.search(text) else text).split()


def normalized_words(text: str) -> list[str]:
    """Split a text into lower-case words, numbers and punctuation marks; "It's 2.5 stars" -> it ' s 2.5 stars."""
    if text.isascii():
        return _ASCII_TOKEN.findall(text.lower())
    # Lowered twice: a few letters become a letter and a combining mark.
    lowered = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower().lower())
    return [word for part in lowered.split() for word in _TOKEN.findall(part)]


def normalize_text(text: str) -> str:
    """Lowercase a text and split punctuation from words: "It's fun, 2.5 stars" -> "it ' s fun , 2.5 stars".

    In scripts without blanks each character becomes a word. Letters are composed (NFC). The function is idempotent.
    """
    return " ".join(normalized_words(text))


def hash_text(text: str) -> int:
    """Return a number that looks random and is the same for equal texts on every machine, 0 .. 2^32 - 1.

    Rows that are sorted or divided by it are in the same order or part wherever they come from. A text that is no valid
    Unicode (a lone surrogate) has a number too.
    """
    return crc32(text.encode("utf-8", "surrogatepass"))


def join_words(words: Sequence[str]) -> str:
    """Join words with blanks, except between two characters of scripts without blanks."""
    text = " ".join(words)
    return text if text.isascii() else _BLANK_BETWEEN_CHARACTERS.sub("", text)


def first_words(text: str, count: int) -> str:
    """Return the first `count` words of a text, with single blanks where the text has white space."""
    text = " ".join(text.split())
    if not has_unspaced(text):
        return " ".join(text.split()[:count])
    for place, word in enumerate(_WORD_OR_CHARACTER.finditer(text), 1):
        if place == count:
            return text[: word.end()]
    return text


def has_unspaced(text: str) -> bool:
    """Return whether a text has letters of a script without blanks between words."""
    return not text.isascii() and _UNSPACED_LETTER.search(text) is not None


def settled_length(text: str) -> int:
    """Return the length of the part of a growing text that can change no more: all but its last word.

    The blank before the last word is not part of it.
    """
    blank = max(text.rfind(" "), 0)
    if text.isascii():
        return blank
    ends = [match.span() for match in _CHARACTER.finditer(text, blank)]
    if not ends:
        return blank
    start, end = ends[-1]
    # Marks may follow the last character as long as nothing else does.
    return int(end if end < len(text) else max(start, blank))


def choose_splitter(texts: Iterable[str]) -> tuple[Callable[[str], list[str]], str]:
    """Choose how texts that are scored as given are split, and say it.

    White space splits them. Where letters of scripts without blanks occur, each character is a word as well, unless the
    texts are segmented, that is, unless their author put blanks between words.

    Returns:
        The function that splits a text, and the condition to print.
    """
    found = [text for text in texts if has_unspaced(text)]
    if not found:
        return split_words, AS_GIVEN
    segments = [part for text in found for part in text.split() if has_unspaced(part)]
    letters = sum(len(_CHARACTER.findall(part)) for part in segments)
    if letters <= _SEGMENT_LETTERS * len(segments) and len(segments) >= _SEGMENTS_PER_TEXT * len(found):
        return str.split, f"{AS_GIVEN} (the texts have blanks between words of a script that writes none)"
    return split_words, f"{AS_GIVEN}; {CHARACTERS_ARE_WORDS}"


def count_unspaced(texts: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Count the words of the texts with letters of scripts without blanks; punctuation marks are no words.

    Returns:
        The row numbers of these texts, and the number of words of each of them, UInt32.
    """
    rows = rows_with(texts, rf"[{UNSPACED}]")
    return rows, texts.gather(rows).str.count_matches(rf"{CHARACTER}|{_OTHER_WORD}")


def separate(texts: pl.Series) -> pl.Series:
    """Compose the letters of texts (NFC), put blanks around characters that are words, and make punctuation ASCII.

    Args:
        texts: [n] strings; most have nothing to change and are returned as they are.
    """
    rows = rows_with(texts, UNUSUAL[:-1] + "".join(ASCII_PUNCTUATION) + "]")
    if rows.is_empty():
        return texts
    changed = texts.gather(rows).str.normalize("NFC").str.replace_many(ASCII_PUNCTUATION)
    changed = changed.str.replace_all(CHARACTER, " $0 ").str.replace_all(" +", " ").str.strip_chars(" ")
    return texts.scatter(rows, changed)


def rows_with(texts: pl.Series, expression: str) -> pl.Series:
    """Return the row numbers of the texts in which a regular expression for non-ASCII characters matches."""
    rows = (texts.str.len_bytes() != texts.str.len_chars()).arg_true()
    return rows.filter(texts.gather(rows).str.contains(expression)) if len(rows) else rows
