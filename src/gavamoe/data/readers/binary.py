"""Name files that are no tables of text by their first bytes, each with a way out."""

from __future__ import annotations

SAVE = "open it there and save the sheet as CSV UTF-8"
KINDS: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "is a PDF: extract its table to CSV first"),
    (
        b"SQLite format 3\x00",
        'is an SQLite database: export the table first, for example sqlite3 -csv -header FILE "select * from reviews"',
    ),
    (b"\xd0\xcf\x11\xe0", f"is an old Microsoft Office file: {SAVE}"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive: unpack it first, for example with 7z x"),
    (b"Rar!", "is a RAR archive: unpack it first, for example with unrar x"),
    (b"\x1f\x9d", "is compressed with compress (.Z): unpack it first with uncompress"),
    (b"\x04\x22\x4d\x18", "is compressed with lz4: unpack it first with lz4 -d"),
    (b"LZIP", "is compressed with lzip: unpack it first with lzip -d"),
    (b"ORC", "is an ORC file: convert it to Parquet first, for example with pyarrow"),
    (b"Obj\x01", "is an Avro file: convert it to Parquet or JSON lines first"),
    (b"ARROW1", "is an Arrow (Feather) file: save it as Parquet, for example with polars or pandas"),
    (b"\x89HDF\r\n", "is an HDF5 file: export the table as CSV or Parquet first"),
    (b"\x93NUMPY", "is a NumPy array: save a table with named columns as CSV or Parquet"),
    (b"\x7fELF", "is a program: name a file of reviews"),
    (b"MZ\x90", "is a program: name a file of reviews"),
    (b"\x89PNG", "is a picture: name a file of reviews"),
    (b"\xff\xd8\xff", "is a picture: name a file of reviews"),
    (b"RDX3", "is an R workspace: save the table with write.csv first"),
    (b"RDX2", "is an R workspace: save the table with write.csv first"),
    (b"SPSS", "is an SPSS file: export it as CSV first"),
    (b"$FL2@(#)", "is an SPSS file: export it as CSV first"),
)


def describe_binary(start: bytes) -> str | None:
    """Return what a file is and what to do if it is no text; None if it may be text.

    Args:
        start: the first bytes of the file, at least 1,024 of them if it has so many.
    """
    for magic, what in KINDS:
        if start.startswith(magic) and (not magic.isalpha() or b"\x00" in start[:1024]):
            return what
    lowered = start[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if lowered.startswith((b"<!doctype html", b"<html")):
        return "is a web page (HTML), not a file of reviews: download the file itself"
    if lowered.startswith(b"<?xml"):
        return "is an XML file: convert its reviews to CSV or JSON lines first"
    if lowered.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS, not the file itself: fetch it with git lfs pull"
    if b"\x00" in start[:1024]:
        return "is not text: a binary file of an unknown kind; save its table as CSV UTF-8, JSON lines or Parquet"
    return None
