"""Column names that review files use, as data: public data sets, shop exports and several languages.

normalize   a header without case, punctuation, accents and type (`user_id:token`) -> a word to compare
SYNONYMS    review column -> names, the most likely first
KNOWN       public files whose column names mean something else elsewhere (`title`, `name`, `description`)
pick        the column of a file that carries the first of these names
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import product

# RecBole writes the type of a column behind its name.
TYPE_SUFFIX = re.compile(r":(token|float)(_seq)?$")
# Prefixes of records that were flattened, `beer/beerId` or `reviews.rating`. Those of the review itself weigh as much
# as no prefix; the others are tried afterwards.
REVIEW_PREFIXES = ("review", "reviews")
RECORD_PREFIXES = (
    *("user", "users", "reviewer", "author", "customer", "member", "profile", "item", "items", "product", "products"),
    *("beer", "wine", "book", "movie", "film", "game", "app", "business", "place", "hotel", "restaurant", "recipe"),
    *("rating", "ratings", "source", "data", "node", "record", "attributes", "fields"),
)
# Prefixes whose fields describe an answer to the review, or a product, and never the review.
OTHER_PREFIXES = ("response", "reply", "resp", "owner", "seller", "details", "detail", "metadata", "info", "hotelinfo")


def _each(heads: str, tails: str) -> str:
    """Return every head with every tail, tail by tail; `-` is the empty tail."""
    return " ".join(head + tail.replace("-", "") for tail, head in product(tails.split(), heads.split()))


USERS = "user reviewer customer author member critic consumer buyer taster profile reviewuser client commentauthor"
ITEMS = (
    "item product business movie film book hotel restaurant rest app game beer wine recipe place venue listing "
    "property course anime song track album article package attraction drug podcast video store shop "
    "clothing device car doctor school airline museum hospital"
)
RATED = "review user reviewer customer star stars overall book movie film beer wine hotel item product app total"

# Names by language: English (generated and written), German, French, Spanish, Italian, Portuguese, Chinese, Japanese.
_NAMES: dict[str, tuple[str, ...]] = {
    "user": (
        "user userid uid username userkey reviewerid reviewer customerid customer authorid author memberid critic",
        _each(USERS, "id uid key md5 hash steamid - name username nickname displayname screenname profilename"),
        _each(USERS, "fullname title login handle code number"),
        "profilename displayname nickname screenname steamid reviewers reviewprofilename commentauthor userhandle",
        "nutzerid benutzerid kundenid kundennummer kundennr nutzer benutzer kunde rezensent bewerter verfasser",
        "nutzername benutzername kundenname benutzerkennung nutzerkennung",
        "idutilisateur utilisateurid idclient utilisateur client pseudo auteur nomutilisateur nomclient",
        "idusuario usuarioid idcliente clienteid usuario cliente autor nombreusuario nombredeusuario nombrecliente",
        "idutente utenteid utente autore nomeutente nomecliente recensore",
        "idutilizador utilizador usuarioid nomeusuario nomedousuario avaliador",
        "用户id 用户编号 会员id 用户 用户名 用户名称 用户昵称 昵称 会员 会员名 评论者 评论人 评价人 作者 买家",
        "用戶 用戶名 使用者 使用者名稱",
        "ユーザーid ユーザid 会員id 顧客id 投稿者id ユーザー ユーザ 利用者 投稿者 レビュアー レビュー者 顧客",
        "会員 ユーザー名 ユーザ名 投稿者名 ニックネーム",
    ),
    "item": (
        "item itemid iid parentasin asin productid product businessid movieid movie bookid book hotelid hotel",
        "isbn isbn13 isbn10 gmapid beerbeerid asins",
        _each(ITEMS, "id uid asin sku key code - handle slug number name title nameen namecn url link"),
        "offeringid steamappid sku ean upc gtin googleid packagename bundleid imdbid tmdbid titleid firm company",
        "domainurl webshopname urlrestaurant hotelurl rottentomatoeslink commentpostid branch location_id placename",
        "artikelnummer artikelnr artikelid produktid produktnummer produktnr artikel produkt buch artikelname",
        "produktname buchtitel filmtitel spiel",
        "idproduit produitid idarticle produit livre jeu nomproduit nomduproduit titrefilm etablissement",
        "idproducto productoid idarticulo producto articulo libro pelicula restaurante juego nombreproducto",
        "nombredelproducto titulopelicula",
        "idprodotto prodottoid prodotto articolo libro albergo ristorante gioco nomeprodotto",
        "idproduto produtoid produto artigo livro filme jogo nomeproduto nomedoproduto",
        "商品id 产品id 电影id 图书id 店铺id 餐厅id 酒店id 商品编号 商品 产品 电影 图书 书 店铺 商家 餐厅 餐馆",
        "酒店 商品名称 商品名 产品名称 产品名",
        "电影名 电影名称 书名 店名 店铺名称 商店 產品 電影",
        "商品コード アイテムid 製品id 作品id 店舗id アイテム 製品 映画 作品 店舗 宿 施設 ホテル 本 ゲーム",
        "製品名 映画名 作品名 店舗名 施設名 ホテル名",
    ),
    "rating": (
        "rating stars overall score starrating ratingscore reviewscore overallrating",
        _each(RATED, "rating score stars rate points grade"),
        "ratings rate points star grade userrating reviewoverall ratingvalue ratingoverall ratingreview overallscore",
        "ratingstars votedup recommend recommended isrecommended reviewrecommended weightedrating vote",
        "sterne sternebewertung anzahlsterne punktzahl punkte wertung bewertung gesamtbewertung gesamtnote",
        "etoiles nombreetoiles note notation noteglobale evaluation",
        "estrellas calificacion puntuacion valoracion nota",
        "stelle voto valutazione punteggio",
        "estrelas avaliacao classificacao pontuacao",
        "评分 星级 打分 分数 得分 评级 評分 星數 總評",
        "評価 評点 点数 星評価 星の数 星 スコア 採点 レーティング 総合評価",
    ),
    "text": (
        "text reviewtext reviewbody reviewcontent content comment comments review body explanation sentence",
        "verifiedreviews",
        _each(
            "review user customer comment full raw",
            "detail details description message comment comments full fulltext text content "
            "review reviews body texts sentence",
        ),
        "textreview reviewen reviewplaintext reviewmessage reviews feedback message testimonial quote fulltext",
        "kommentar rezension rezensionstext bewertungstext bewertungskommentar kritik meinung inhalt kundenmeinung "
        "bewertung",
        "avis texteavis avisclient commentaire commentaires texte critique contenu",
        "resena textoresena comentario comentarios texto critica contenido",
        "recensione testorecensione commento commenti testo opinione contenuto",
        "resenha opiniao textoavaliacao conteudo",
        "评论内容 评价内容 评论 评价 短评 影评 书评 评语 内容 文本 正文 評論 評論內容 評價",
        "レビュー本文 レビュー内容 レビュー 口コミ クチコミ 感想 本文 コメント 内容 テキスト",
    ),
    "feature": ("feature aspect",),
    "opinion": ("opinion",),
    "sentiment": ("sentiment",),
    "timestamp": (
        "timestamp unixreviewtime unixtime time date datetime reviewdate reviewtime createdat",
        "reviewtimestamp timeunix reviewtimeunix reviewdatetimeutc reviewdatetime reviewcreatedutc "
        "reviewsubmitmillissinceepoch reviewsubmitdateandtime",
        _each(
            "review rating comment created creation submission submit submitted posted post published publish rated",
            "timestamp time date datetime at atdate on year created",
        ),
        "timestampcreated created posted published submitted dateadded dateposted datesubmitted datecreated",
        "datereview datereviews datereviewed datewritten createdutc createtime updatedat updated dateupdated",
        "unixts ts ",
        "epoch at yearmonth postdate",
        "datum bewertungsdatum rezensionsdatum zeit zeitpunkt zeitstempel uhrzeit erstelltam erstellt",
        "veroeffentlichtam",
        "dateavis datepublication dateheure horodatage heure datecreation",
        "fecha fecharesena fechahora hora fechacreacion marcadetiempo",
        "data datarecensione dataora ora datacreazione",
        "dataavaliacao datahora datacriacao",
        "日期 时间 评论时间 评论日期 评价时间 评价日期 发布时间 发布日期 创建时间 时间戳 時間 日期時間",
        "日付 日時 投稿日 投稿日時 レビュー日 レビュー日時 作成日 時刻 タイムスタンプ",
    ),
    "split": ("split",),
}

# A file that has all these columns means these, whatever the names mean elsewhere.
KNOWN: tuple[Mapping[str, str], ...] = (
    # Wine reviews: the tasted wine is the title, its description is the review.
    {"user": "taster_name", "item": "title", "rating": "points", "text": "description"},
    # Phones on Amazon: the name is the reviewer's.
    {"item": "asin", "user": "name", "rating": "rating", "text": "body", "timestamp": "date", "": "helpfulVotes"},
    # Google Maps by Apify: the title is that of the place.
    {"user": "reviewerId", "item": "placeId", "rating": "stars", "text": "text", "timestamp": "publishedAtDate"},
)
METADATA_SYNONYMS = {
    "title": (
        "hotelinfoname title name itemname producttitle productname titel titre titulo titolo 标题 名称 "
        "商品名称 商品名 電影名"
    ),
    "categories": (
        "categories category genres genre kategorie kategorien categorie categoria categorias 分类 类别 カテゴリ"
    ),
    "description": (
        "description synopsis summary overview plot about beschreibung descripcion descrizione descricao 描述 简介"
    ),
}


@cache
def normalize(name: str) -> str:
    """Return a column name without case, punctuation, accents and RecBole's type, for comparison."""
    plain = unicodedata.normalize("NFKD", TYPE_SUFFIX.sub("", name.strip())).casefold()
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return re.sub(r"[\W_]", "", plain)


SYNONYMS = {
    column: list(dict.fromkeys(normalize(name) for part in parts for name in part.split()))
    for column, parts in _NAMES.items()
}


def pick(columns: Sequence[str], names: Iterable[str], any_prefix: bool = False) -> str | None:
    """Return the column with the first possible name, None if there is none.

    Args:
        columns: the columns of a file; of two with one name the first is taken.
        names: normalized names, the most likely first.
        any_prefix: whether a name may also stand behind an unknown prefix, as in `t1.user_id`.
    """
    names = list(names)
    levels: list[dict[str, str]] = [{}, {}, {}]
    for column in columns:
        whole = normalize(column)
        if whole:
            levels[0].setdefault(whole, column)
        prefix, last = _parts(column)
        if last and (prefix in REVIEW_PREFIXES or (prefix in RECORD_PREFIXES and last.startswith(prefix))):
            levels[0].setdefault(last, column)
        elif last and prefix in RECORD_PREFIXES:
            levels[1].setdefault(last, column)
        elif last and prefix not in OTHER_PREFIXES:
            levels[2].setdefault(last, column)
    for by_name in levels if any_prefix else levels[:2]:
        for name in names:
            if name in by_name:
                return by_name[name]
    return None


def pick_known(columns: Sequence[str]) -> dict[str, str]:
    """Return the source column of each review column of a KNOWN file; empty for any other file."""
    by_name = {normalize(name): name for name in reversed(columns)}
    for known in KNOWN:
        wanted = {column: by_name.get(normalize(name)) for column, name in known.items()}
        if all(wanted.values()):
            return {column: name for column, name in wanted.items() if column and name}
    return {}


def is_review_record(columns: Sequence[str]) -> bool:
    """Return whether fields of the review carry a prefix, so that the others describe the item."""
    return any(_parts(column)[0] in REVIEW_PREFIXES for column in columns)


def names_columns(values: Iterable[str | None]) -> bool:
    """Return whether the values of a row are themselves names of review columns: a header, not a review."""
    named = {column for value in values if value for column in SYNONYMS if normalize(value) in SYNONYMS[column]}
    return len(named) >= 2


def _parts(column: str) -> tuple[str, str]:
    """Return prefix and last part of `a.b` or `a/b`, both normalized; the last part is empty without a prefix."""
    parts = re.split(r"[./]", TYPE_SUFFIX.sub("", column.strip()))
    return (normalize(parts[-2]), normalize(parts[-1])) if len(parts) > 1 else ("", "")
