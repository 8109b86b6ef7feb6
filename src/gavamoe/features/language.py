"""Tell which language most texts are in, by their script and their most frequent short words.

It is a rough and cheap answer for a whole corpus, not for one text. It needs no package and no model, so it is the same
on every machine. `prepare --language` uses lingua for single texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from gavamoe.words import rows_with

SAMPLE = 2_000  # texts that are looked at, evenly spaced
# Languages that are recognised by their letters: code, name, letters.
SCRIPTS = (
    ("ja", "Japanese", r"\p{Hiragana}\p{Katakana}"),
    ("zh", "Chinese", r"\p{Han}"),
    ("ko", "Korean", r"\p{Hangul}"),
    ("th", "Thai", r"\p{Thai}"),
    ("lo", "Lao", r"\p{Lao}"),
    ("km", "Khmer", r"\p{Khmer}"),
    ("my", "Burmese", r"\p{Myanmar}"),
    ("fa", "Persian", "پچژگی"),
    ("ar", "Arabic", r"\p{Arabic}"),
    ("he", "Hebrew", r"\p{Hebrew}"),
    ("hi", "Hindi", r"\p{Devanagari}"),
    ("bn", "Bengali", r"\p{Bengali}"),
    ("ta", "Tamil", r"\p{Tamil}"),
    ("te", "Telugu", r"\p{Telugu}"),
    ("el", "Greek", r"\p{Greek}"),
    ("uk", "Ukrainian", "іїєґ"),
    ("ru", "Russian", r"\p{Cyrillic}"),
    ("ka", "Georgian", r"\p{Georgian}"),
    ("hy", "Armenian", r"\p{Armenian}"),
)
# Scripts that several languages share: the letters of one language alone need this share of the letters of the script.
PART_OF = {"ja": r"\p{Hiragana}\p{Katakana}\p{Han}", "fa": r"\p{Arabic}", "uk": r"\p{Cyrillic}"}
OWN_SHARE = 0.03
# Languages in Latin letters are recognised by short words that the others lack or use less.
STOP_WORDS = {
    "en": ("English", "the and of to is it was this that for with you not but are have my very in on so as at they"),
    "de": ("German", "der die das und ist nicht ich ein eine sehr mit es auch auf für den dem war aber zu im sind wir"),
    "fr": ("French", "le la les et est un une des pas que pour je très ce dans du en qui au nous avec mais c'est"),
    "es": ("Spanish", "el la los y es un una que de no muy en por con para lo las se del pero está al me todo"),
    "it": ("Italian", "il la che di e è un una non per con molto sono del le si i da anche della ma in più gli"),
    "pt": ("Portuguese", "o a os e é um uma que não de muito com para do da no na em as mas foi bom por eu"),
    "nl": ("Dutch", "de het een en is niet van ik dat op te met voor zeer was maar ook zijn er goed heel aan bij"),
    "sv": ("Swedish", "och är det en att inte jag som på för med mycket den var av men till ett har bra så vi"),
    "da": ("Danish", "og er det en at ikke jeg som på for med meget den var af men til et har god så vi der"),
    "pl": ("Polish", "i w nie to jest na się z do że bardzo jak ale za od tak po są dla był już tego"),
    "cs": ("Czech", "a je se na to že v s ne ale jsem za byl velmi do jako by tak si po jsou bylo"),
    "tr": ("Turkish", "ve bir bu çok da de için ama ile gibi daha ben en güzel iyi var ne o değil mi kadar"),
    "id": ("Indonesian", "yang dan di ini itu tidak untuk dengan saya sangat ada dari juga bagus nya ke bisa enak"),
    "vi": ("Vietnamese", "và là của không có rất cho một này được tôi người với những thì đã các ở nên như"),
    "fi": ("Finnish", "ja on ei se että oli hyvä mutta hyvin kun niin myös ole kuin erittäin tai oli joka"),
    "hu": ("Hungarian", "a az és nem hogy is egy nagyon van de jó volt ez meg csak mint már ha el"),
    "ro": ("Romanian", "și este un o nu de în la cu pe foarte că mai din care am a fost dar ce sunt"),
}
ONLY_ENGLISH = set(STOP_WORDS["en"][1].split()).difference(
    *(words.split() for code, (_, words) in STOP_WORDS.items() if code != "en"), ("was", "so", "in", "an", "on")
)
ENGLISH_STOP_SHARE = 0.1  # of the short words found: with as many in English, a corpus has English reviews to mine
OTHER_LETTERS = 0.5  # more letters than this outside Latin decide by script


@dataclass(frozen=True)
class Language:
    """The language that most texts of a corpus are in.

    Args:
        code: ISO 639-1 code; None where nothing is recognised.
        name: its English name.
        has_english: whether a good part of the texts is in English, or nothing is known.
    """

    code: str | None
    name: str
    has_english: bool

    def __str__(self) -> str:
        return f"{self.name} ({self.code})" if self.code else self.name


def detect_language(texts: pl.Series | Sequence[str]) -> Language:
    """Tell the language of most texts; "an unknown language" (which may be English) where nothing is recognised."""
    texts = pl.Series(texts, dtype=pl.String).drop_nulls()
    texts = texts.gather_every(max(1, len(texts) // SAMPLE))
    other = _letters(texts, r"[\p{L}&&[^\p{Latin}]]") if len(rows_with(texts, r"[\p{L}&&[^\p{Latin}]]")) else 0
    latin = _letters(texts, r"\p{Latin}")
    by_words = _by_stop_words(texts)
    if other <= OTHER_LETTERS * (other + latin):
        return by_words
    counts = {code: _letters(texts, f"[{letters}]") for code, _, letters in SCRIPTS}
    for code, script in PART_OF.items():
        if counts[code] > OWN_SHARE * _letters(texts, f"[{script}]"):
            counts[code] = _letters(texts, f"[{script}]") + 1  # more than the script's other languages
    code, name, _ = max(SCRIPTS, key=lambda script: counts[script[0]])
    if not counts[code]:
        return Language(None, "an unknown language", True)
    return Language(code, name, by_words.code == "en" and latin > ENGLISH_STOP_SHARE * (other + latin))


def _by_stop_words(texts: pl.Series) -> Language:
    words = texts.str.to_lowercase().str.extract_all(r"[\p{L}']+").explode().drop_nulls()
    counts = words.value_counts()
    found = {
        code: int(counts.filter(counts[counts.columns[0]].is_in(stop.split()))["count"].sum())
        for code, (_, stop) in STOP_WORDS.items()
    }
    code = max(found, key=lambda code: found[code])
    if not found[code]:
        return Language(None, "an unknown language", True)
    english = int(counts.filter(counts[counts.columns[0]].is_in(list(ONLY_ENGLISH)))["count"].sum())
    has_english = code == "en" or english > ENGLISH_STOP_SHARE * (english + found[code])
    return Language(code, STOP_WORDS[code][0], has_english)


def _letters(texts: pl.Series, expression: str) -> int:
    return int(texts.str.count_matches(expression).sum() or 0)
