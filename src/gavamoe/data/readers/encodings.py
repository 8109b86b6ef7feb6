"""Find the encoding of a text: byte order marks, the pattern of NUL bytes, a validity test, and a detector."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from gavamoe.data.readers.reading import shortened
from gavamoe.errors import DataError

# The mark of UTF-32 LE begins with that of UTF-16 LE, so it is tried first.
BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"\x84\x31\x95\x33", "gb18030"),
)
# The detector names supersets; the first of these codecs that fits is the usual name.
CODECS = {
    "gb18030": ("gbk", "gb18030"),
    "gb2312": ("gbk", "gb18030"),
    "big5": ("big5", "big5hkscs", "cp950"),
    "cp932": ("shift_jis", "cp932"),
    "shift_jis": ("shift_jis", "cp932"),
    "cp949": ("euc_kr", "cp949"),
    "euc-kr": ("euc_kr", "cp949"),
    "iso-8859-1": ("windows-1252", "latin-1"),
    "iso-8859-8": ("windows-1255", "iso-8859-8"),
}
WESTERN = "windows-1252"
# Added to the confidence of Windows-1252, by far the most frequent of its relatives.
PREFERENCE = 0.01
# Bytes beyond ASCII that stand together; the second byte of a letter may be ASCII in Shift-JIS, Big5 and GBK.
GROUPS = re.compile(rb"(?:[\x80-\xff][\x40-\x7e\x80-\xff])+|[\x80-\xff]+")
RUNS = re.compile(rb"[\x80-\xff]+")
# Encodings in which a line break is not the byte 0A, or that keep a state across lines.
NOT_BY_LINE = ("utf-16", "utf-32", "utf-7", "hz", "iso2022", "iso-2022", "punycode", "idna")
SAMPLE_BYTES = 400_000


def named_encoding(name: str) -> str:
    """Return the codec that a user named.

    Raises:
        DataError: there is no such encoding of texts.
    """
    examples = "utf-8, utf-16, windows-1252, latin-1, gbk, gb18030, big5, shift_jis or euc_kr"
    try:
        codec = codecs.lookup(name.strip())
        "a".encode(codec.name)
        if codec.name in ("idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape", "unicode-escape"):
            raise LookupError
    except (LookupError, ValueError, TypeError):
        raise DataError(
            f"encoding {shortened(name, 40)!r} is unknown: name one as Python does, such as {examples}"
        ) from None
    except Exception:  # a codec of bytes, such as base64, may raise anything
        raise DataError(f"encoding {shortened(name, 40)!r} is not one of texts: name one such as {examples}") from None
    return "utf-8" if codec.name == "utf-8-sig" else WESTERN if codec.name == "cp1252" else codec.name


def is_by_line(encoding: str) -> bool:
    """Return whether a text in this encoding can be cut at line breaks before it is decoded."""
    return not encoding.startswith(NOT_BY_LINE) and "\n".encode(encoding) == b"\n"


def marked(start: bytes) -> tuple[str, int] | None:
    """Return the encoding that a byte order mark names, and the size of the mark; None without a mark."""
    for mark, name in BOMS:
        # NULs after FF FE are a UTF-16 text only if they are not the start of a UTF-32 mark.
        if start.startswith(mark):
            return name, len(mark)
    return None


def unmarked_utf16(start: bytes) -> str | None:
    """Return `utf-16-le` or `utf-16-be` if the NUL bytes of a text are all on one side of its pairs, else None."""
    pairs = start[: len(start) // 2 * 2]
    zeros = (pairs[0::2].count(0), pairs[1::2].count(0))
    if min(zeros) or max(zeros) < 2 or max(zeros) * 40 < len(pairs):
        return None
    name = "utf-16-be" if zeros[0] else "utf-16-le"
    try:
        text = codecs.getincrementaldecoder(name)().decode(pairs)
    except UnicodeDecodeError:
        return None
    return None if any(character < " " and character not in "\t\r\n\f\v" for character in text) else name


def is_utf8(data: bytes, cut: bool = False) -> bool:
    """Return whether bytes are UTF-8.

    Args:
        data: the bytes.
        cut: whether the last character may be incomplete.
    """
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data, final=not cut)
    except UnicodeDecodeError:
        return False
    return True


def guess(lines: list[bytes]) -> str | None:
    """Guess the encoding of lines that are not UTF-8.

    Args:
        lines: lines with bytes beyond ASCII; a sample.

    Returns:
        A codec that decodes all of the lines, or 99 % of them if no other decodes more; None if nothing fits.
    """
    sample = b"\n".join(lines)[:SAMPLE_BYTES]
    names: dict[str, None] = {}
    for name in _ranked(sample):
        if not _mixes_scripts(sample, name):
            names.update(dict.fromkeys(CODECS.get(name, (name,))))
    names.update(dict.fromkeys((WESTERN, "latin-1")))
    best: tuple[float, str] | None = None
    for name in names:
        failed = sum(not _is_text(line, name) for line in lines)
        if failed * 100 <= len(lines) and (best is None or failed < best[0]):
            best = failed, name
        if failed == 0:
            break
    return _usual_name(best[1], sample) if best else None


def _ranked(sample: bytes) -> list[str]:
    """Return encodings by the detector's confidence, the likeliest first.

    The detector gives little confidence to few different letters, as in a file of short reviews. Letters of Chinese,
    Japanese or Korean stand together, and accents stand alone: if most stand together, the detector also sees only the
    distinct groups of them.
    """
    import chardet  # 30 ms, and needed only where UTF-8 fails

    runs = [len(run) for run in RUNS.findall(sample)]
    views = [sample]
    if sum(size for size in runs if size > 1) * 2 > sum(runs):
        views.append(b"\n".join(dict.fromkeys(GROUPS.findall(sample))))
    scores: dict[str, float] = {}
    for view in views:
        for found in chardet.detect_all(view, encoding_era=chardet.EncodingEra.MODERN_WEB, ignore_threshold=True):
            name = (found["encoding"] or "").lower()
            if name and not name.startswith(("utf", "ascii")):
                scores[name] = max(scores.get(name, 0), found["confidence"])
    if WESTERN in scores:
        scores[WESTERN] += PREFERENCE
    return sorted(scores, key=lambda name: -scores[name])


def _usual_name(name: str, sample: bytes) -> str:
    """Return Windows-1252 where it reads the same as the guess, since it is the likelier encoding."""
    western = sample.decode(WESTERN, "replace")
    return WESTERN if sample.decode(name, "replace") == western and "\ufffd" not in western else name


def _is_text(line: bytes, name: str) -> bool:
    """Return whether a line is a text in this encoding, without control characters."""
    try:
        text = line.decode(name)
    except (UnicodeDecodeError, LookupError):
        return False
    return not any("\x80" <= character <= "\x9f" for character in text)


def _mixes_scripts(sample: bytes, name: str) -> bool:
    """Return whether most letters beyond Latin stand beside an ASCII letter, as accents misread as Cyrillic do."""
    try:
        text = sample.decode(name, "ignore")
    except LookupError:
        return True
    beside = others = 0
    for before, letter, after in _neighbours(text):
        if letter > "\u024f" and letter.isalpha():
            others += 1
            beside += (before.isascii() and before.isalpha()) or (after.isascii() and after.isalpha())
    return beside * 2 > others


def _neighbours(text: str) -> Iterator[tuple[str, str, str]]:
    return zip(" " + text, text, text[1:] + " ", strict=False)
