"""The language of a text, told by the models that come inside the `lingua` package (an optional dependency)."""

from __future__ import annotations

import polars as pl

from gavamoe.errors import DataError

INSTALL = "pip install 'gavamoe[language]'"


def is_in_language(texts: pl.Series, code: str) -> pl.Series:
    """Tell which texts are written in a language; texts too short to tell (no letters) are not.

    Args:
        texts: [n] strings.
        code: ISO 639-1 code, such as en.

    Raises:
        DataError: lingua is not installed, or does not know the language.
    """
    try:
        from lingua import IsoCode639_1, LanguageDetectorBuilder
    except ImportError:
        raise DataError(f"--language needs the package lingua: {INSTALL}") from None
    wanted = getattr(IsoCode639_1, code.upper(), None)
    if wanted is None:
        raise DataError(f"--language {code}: expected an ISO 639-1 code, such as en")
    detector = LanguageDetectorBuilder.from_all_languages().with_low_accuracy_mode().build()
    found = detector.detect_languages_in_parallel_of(texts.to_list())
    return pl.Series(
        [language is not None and language.iso_code_639_1 == wanted for language in found], dtype=pl.Boolean
    )
