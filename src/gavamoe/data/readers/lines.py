"""Read text inputs in chunks of whole lines of UTF-8, in bounded memory and with line numbers.

bytes of an input -> decoded, if the encoding is not cut by lines -> line ends -> whole lines -> UTF-8
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gavamoe.data.readers.binary import describe_binary
from gavamoe.data.readers.encodings import (
    SAMPLE_BYTES,
    guess,
    is_by_line,
    is_utf8,
    marked,
    named_encoding,
    unmarked_utf16,
)
from gavamoe.data.readers.inputs import EmptyFileError, InputFile
from gavamoe.data.readers.reading import Reading
from gavamoe.errors import DataError

CHUNK_BYTES = 16 << 20
BLOCK_BYTES = 1 << 20
LONGEST_LINE = 64 << 20
HEAD_BYTES = 1 << 16
LONGEST_HEADER = 8 << 20
CR = re.compile(rb"\r\n?")
REMEDY = "name its encoding with --encoding, or convert it, for example with iconv -f WINDOWS-1252 -t UTF-8"


@dataclass(frozen=True)
class Chunk:
    """Whole lines of a file; the last one may lack its line end.

    Args:
        data: the bytes.
        line: the line number of the first one in the file, from 1.
    """

    data: bytes
    line: int

    def numbered(self) -> Iterator[tuple[int, bytes]]:
        """Yield (line number, line) for the lines that are not blank."""
        for number, line in enumerate(self.data.split(b"\n"), start=self.line):
            if line.strip():
                yield number, line


class TextFile:
    """An input that is text: its encoding, its line ends, and its lines as UTF-8.

    The encoding is the one that the user names, else that of a byte order mark, else UTF-16 if the NUL bytes say so,
    else UTF-8. Where UTF-8 fails, the whole file is searched for lines beyond ASCII, and a detector guesses.

    Args:
        source: the input.
        named: the encoding that the user names; None to find it.

    Attributes:
        encoding: the encoding, as Python names it; it may change while an ASCII file is read that is later not UTF-8.
        encoding_from: where the encoding comes from; see Reading.

    Raises:
        DataError: the file is not text, or its encoding is unknown.
        EmptyFileError: the file is empty.
    """

    def __init__(self, source: InputFile, named: str | None = None) -> None:
        self.source = source
        self.place = source.place
        start = source.start(HEAD_BYTES)
        if not start:
            raise EmptyFileError(f"{self.place} is empty: expected reviews")
        self._skip = 0
        self._valid_utf8 = 0
        self._checked = False
        self.encoding, self.encoding_from = self._find_encoding(start, named)
        self._ends_with_cr = self._find_line_ends()

    def _find_encoding(self, start: bytes, named: str | None) -> tuple[str, str]:
        mark = marked(start)
        if mark and (named is None or mark[0] == named_encoding(named) or named_encoding(named).startswith("utf-")):
            self._skip = mark[1]
            return mark[0], "mark" if named is None else "named"
        if named is not None:
            return named_encoding(named), "named"
        utf16 = unmarked_utf16(start[:4096])
        if utf16:
            return utf16, "bytes"
        binary = describe_binary(start)
        if binary:
            raise DataError(f"{self.place} {binary}")
        if not is_utf8(start, cut=True):
            return self._guess("utf-8", 1)
        return "utf-8", "utf-8"

    def _guess(self, current: str, line: int) -> tuple[str, str]:
        """Search the file for lines that are not UTF-8, and guess their encoding.

        Args:
            current: the encoding if the file is mostly UTF-8.
            line: where UTF-8 failed, for the message.
        """
        self._checked = True
        sample: list[bytes] = []
        size = valid = invalid = 0
        for block in self._raw_lines(BLOCK_BYTES):
            if block.isascii():
                continue
            for text in re.split(rb"[\r\n]+", block):
                if text.isascii():
                    continue
                if is_utf8(text):
                    valid += 1
                    continue
                invalid += 1
                if size < SAMPLE_BYTES:
                    sample.append(text[:2000] if len(text) > 4000 else text)
                    size += len(sample[-1])
        if valid >= invalid:
            self._valid_utf8 = valid
            return current, "utf-8"
        found = guess(sample)
        if found is None:
            raise DataError(
                f"{self.place} is not UTF-8 ({invalid:,} lines, the first near line {line}), and its encoding was not "
                f"recognised: {REMEDY}"
            )
        return found, "guessed"

    def _find_line_ends(self) -> bool:
        """Return whether lines end with CR alone, as on old Macs."""
        head = b""
        for block in self._decoded(self.source.blocks(HEAD_BYTES), final=False):
            head += block
            if b"\n" in head or b"\r" in head[:-1] or len(head) > LONGEST_HEADER:
                break
        first = head.find(b"\r")
        if first < 0 or head[first + 1 : first + 2] == b"\n":
            return False
        line_feed = head.find(b"\n")
        if line_feed < 0:
            return head.find(b"\r", first + 1) >= 0 or first < len(head) - 1
        if line_feed < first:
            return False
        one, two = head[:line_feed].split(b"\r")[:2]
        separators = (b",", b"\t", b";", b"|")
        mark = max(separators, key=one.count)
        return one.lstrip()[:1] == b"{" or (one.count(mark) > 0 and one.count(mark) == two.count(mark))

    def reading(
        self, format: str, notes: tuple[str, ...] = (), records: str = "", records_named: bool = False
    ) -> Reading:
        """Return how the file was read."""
        return Reading(
            format,
            self.encoding,
            self.encoding_from,
            self.source.containers,
            self.source.member,
            records=records,
            records_named=records_named,
            notes=("lines end with CR", *notes) if self._ends_with_cr else notes,
        )

    def not_text(self, line: bytes) -> str | None:
        """Return why a line is no text in the file's encoding, with what to do; None if it is."""
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            problem = f"not {'UTF-8' if self.encoding == 'utf-8' else self.encoding} text at byte {error.start + 1}"
            if self.encoding == "utf-8" and self._valid_utf8:
                problem += f" ({self._valid_utf8:,} other lines with such letters are UTF-8)"
            return problem
        return None

    def chunks(self, size: int | None = None) -> Iterator[Chunk]:
        """Yield the file in chunks of whole lines of UTF-8, of about 16 MiB.

        A line that is not text in the file's encoding is yielded as it is; `not_text` describes it.

        Args:
            size: the least size of a chunk in bytes; None for 16 MiB.

        Raises:
            DataError: the data is damaged or cut short, a line is too long, or the text cannot be decoded.
        """
        size = CHUNK_BYTES if size is None else size
        line = 1
        for data in self._whole_lines(self._normalized(size), size):
            # The encoding may change here: what came before was ASCII, and reads the same.
            if is_by_line(self.encoding):
                data = self._to_utf8(data, line)
            yield Chunk(data, line)
            line += data.count(b"\n")

    def first_lines(self, size: int = HEAD_BYTES) -> bytes:
        """Return at least the first `size` bytes, to the end of a line."""
        chunk = next(self.chunks(size), None)
        return chunk.data if chunk else b""

    def peek(self, size: int = 4096) -> str:
        """Return the first `size` bytes as text; where it is cut or damaged, with replacement characters."""
        start = self.source.start(size)[self._skip :]
        return codecs.getincrementaldecoder(self.encoding)("replace").decode(start)

    def text_blocks(self) -> Iterator[str]:
        """Yield the text in blocks that may end anywhere.

        Raises:
            DataError: the data is damaged, or the text cannot be decoded.
        """
        decoder = codecs.getincrementaldecoder(self.encoding)()
        skip = self._skip
        for block in self.source.blocks(CHUNK_BYTES):
            block, skip = block[skip:], 0
            try:
                pending = decoder.getstate()[0]
                yield decoder.decode(block)
            except UnicodeDecodeError as error:
                before = self.encoding
                self._reconsider(1)
                if self.encoding == before:
                    raise self._undecodable(error) from None
                decoder = codecs.getincrementaldecoder(self.encoding)()
                try:
                    yield decoder.decode(pending + block)
                except UnicodeDecodeError as again:
                    raise self._undecodable(again) from None
        try:
            yield decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise self._undecodable(error) from None

    def _undecodable(self, error: UnicodeError, line: int | None = None) -> DataError:
        where = f" after line {line}" if line else ""
        name = "UTF-8" if self.encoding == "utf-8" else self.encoding
        reason = getattr(error, "reason", None) or error
        return DataError(f"{self.place} is not {name} text{where} ({reason}): {REMEDY}")

    def _reconsider(self, line: int) -> None:
        """Guess the encoding, once, after UTF-8 has failed."""
        if self.encoding_from == "utf-8" and not self._checked:
            self.encoding, self.encoding_from = self._guess(self.encoding, line)

    def _to_utf8(self, data: bytes, line: int) -> bytes:
        """Convert whole lines to UTF-8; lines that cannot be decoded stay as they are."""
        if data.isascii():
            return data
        if self.encoding == "utf-8":
            if self._checked or is_utf8(data):
                return data
            self._reconsider(line)
            if self.encoding == "utf-8":
                return data
        try:
            return data.decode(self.encoding).encode()
        except UnicodeError:
            return b"\n".join(map(self._line_to_utf8, data.split(b"\n")))

    def _line_to_utf8(self, line: bytes) -> bytes:
        try:
            return line.decode(self.encoding).encode()
        except UnicodeError:
            return b"\xff" + line if is_utf8(line) else line  # remains a line that is no text

    def _decoded(self, blocks: Iterable[bytes], final: bool = True) -> Iterator[bytes]:
        """Yield blocks without the byte order mark; as UTF-8 if the encoding cannot be cut by lines."""
        skip = self._skip
        decoder = None if is_by_line(self.encoding) else codecs.getincrementaldecoder(self.encoding)()
        line = 1
        try:
            for block in blocks:
                block, skip = block[skip:], 0
                block = decoder.decode(block).encode() if decoder else block
                line += block.count(b"\n")
                yield block
            if decoder and final:
                yield decoder.decode(b"", final=True).encode()
        except UnicodeError as error:
            raise self._undecodable(error, line) from None

    def _normalized(self, size: int) -> Iterator[bytes]:
        """Yield decoded blocks in which lines end with LF if they ended with CR."""
        blocks = self._decoded(self.source.blocks(min(size, BLOCK_BYTES)))
        if not self._ends_with_cr:
            yield from blocks
            return
        held = b""
        for block in blocks:
            block, held = held + block, b""
            if block.endswith(b"\r"):  # the LF may be in the next block
                block, held = block[:-1], b"\r"
            yield CR.sub(b"\n", block)
        yield CR.sub(b"\n", held)

    def _raw_lines(self, size: int) -> Iterator[bytes]:
        """Yield the bytes as they are, cut at line breaks where there are some."""
        held = b""
        for block in self.source.blocks(size):
            block = held + block
            cut = max(block.rfind(b"\n"), block.rfind(b"\r")) + 1 or (len(block) if len(block) > size else 0)
            yield block[:cut]
            held = block[cut:]
        yield held

    def _whole_lines(self, blocks: Iterator[bytes], size: int) -> Iterator[bytes]:
        """Join blocks to at least `size` bytes that end with a line."""
        held: list[bytes] = []
        total, line = 0, 1
        for block in blocks:
            start = max(0, size - 1 - total)
            held.append(block)
            total += len(block)
            end = block.find(b"\n", start) + 1 if total >= size else 0
            while end:
                data = b"".join([*held[:-1], held[-1][:end]])
                yield data
                line += data.count(b"\n")
                rest = held[-1][end:]
                held, total = [rest], len(rest)
                end = rest.find(b"\n", size - 1) + 1 if total >= size else 0
            if total > size + LONGEST_LINE:
                raise DataError(
                    f"{self.place}: a line after line {line} is longer than {LONGEST_LINE >> 20} MiB: "
                    "not a file of reviews"
                )
        if total:
            yield b"".join(held)
