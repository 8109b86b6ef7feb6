"""Words that stand for nothing: missing values, and names that sites show for reviewers they do not name."""

from __future__ import annotations

import polars as pl

from gavamoe.features.cleaning import compose

# Each review of a placeholder gets a user name of its own with this prefix, and `assign_rows` gives these users the id
# of unknown users.
ANONYMOUS_PREFIX = "<anonymous "
# What programs write for a missing value. The second list is compared with case: "Na" and "nil" are words elsewhere.
MISSING = ("nan", "none", "null", "n/a", "#n/a", "<na>", "nat", "undefined", "(null)", "\\n", "#null!", "-nan")
MISSING_AS_WRITTEN = ("NA", "NIL")
_NOBODY = """
a google user|google user|ein google-nutzer|ein google nutzer|un utilisateur de google|un utilisateur google
un usuario de google|un utente google|un utente di google|um usuário do google|um utilizador do google
google 用户|google 用戶|google ユーザー|一位google用户|amazon customer|amazon-kunde|amazon kunde
client d'amazon|client d’amazon|client amazon|cliente de amazon|cliente amazon|amazon カスタマー
amazonカスタマー|amazon 顧客|亚马逊买家|亚马逊顾客|亚马逊客户|amazon-klant|amazon klant|kindle customer
kindle-kunde|kindle kunde|client kindle|cliente kindle|cliente de kindle|kindleのお客様|kindle カスタマー
a tripadvisor member|tripadvisor member|a tripadvisor reviewer|ein tripadvisor-mitglied
un membre de tripadvisor|a customer|a user|a guest|an anonymous user|a yelp user|a goodreads user|steam user
ebay user|shopify customer|anonymous|anonymous user|anonymous reviewer|anonymous customer|anonym|anonyme
anonymer nutzer|anonymer benutzer|utilisateur anonyme|anónimo|anonimo|anônimo|usuario anónimo|utente anonimo
usuário anônimo|аноним|анонимно|anoniem|匿名|匿名用户|匿名用戶|匿名さん|匿名ユーザー|名無し|名無しさん|익명
مجهول|guest|guest user|gast|gastnutzer|invité|invitado|ospite|convidado|visitor|游客|访客|訪客|ゲスト
ゲストさん|гость|손님|unknown|unknown user|<unknown>|unbekannt|unbekannter nutzer|inconnu|desconocido
sconosciuto|desconhecido|未知|不明|deleted|deleted user|[deleted]|former member|former user|gelöschter nutzer
deactivated user|已注销|退会済み|用户已注销|no name|noname|no_name|name withheld|not available|not provided
private user|hidden user|verified buyer|verified customer|verified purchaser|verified user|verified reviewer
verifizierter käufer|verifizierter kauf|acheteur vérifié|comprador verificado|acquirente verificato|customer
kunde|cliente|用户|用戶|会员|ユーザー|お客様
"""
NOBODY = tuple(name for line in _NOBODY.strip().split("\n") for name in line.split("|"))


def plain_name(names: pl.Series) -> pl.Series:
    """Return names without surrounding white space, composed (NFC): both ways to write é are one name."""
    return compose(names.str.strip_chars())


def blank_missing(values: pl.Series) -> pl.Series:
    """Return the values with null for each word that stands for a missing value."""
    missing = _is_missing(values)
    return values.set(missing, None) if missing.any() else values


def is_nobody(users: pl.Series, further: tuple[str, ...] = ()) -> pl.Series:
    """Return which users are placeholders, by known names and further ones, without case; bool [n]."""
    names = [*NOBODY, *(name.strip().lower() for name in further)]
    lower = users.str.to_lowercase().str.replace_all(r"\s+", " ")
    return (lower.is_in(names) | _is_missing(users)).fill_null(value=False)


def _is_missing(values: pl.Series) -> pl.Series:
    """Return which values are words for a missing value, bool [n]."""
    short = (values.str.len_bytes() <= max(map(len, MISSING))).fill_null(value=False)
    if not short.any():
        return short
    lower = values.str.to_lowercase().is_in(list(MISSING)) | values.is_in(list(MISSING_AS_WRITTEN))
    return (short & lower).fill_null(value=False)
