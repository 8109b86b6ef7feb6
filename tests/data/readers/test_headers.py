"""The column names of public review sets, shop exports and several languages are recognised whole."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from gavamoe.data.dataset import ReviewDataset
from gavamoe.data.prepare import PrepareOptions, prepare
from gavamoe.data.readers.layouts import find_layout
from gavamoe.data.readers.open import ReadOptions, read_reviews
from gavamoe.errors import DataError

# name: the header; then user, item, rating, text, time (- where the file has none).
HEADERS = """
Amazon 2014: reviewerID,asin,reviewerName,helpful,reviewText,overall,summary,unixReviewTime,reviewTime | reviewerID,asin,overall,reviewText,unixReviewTime
Amazon 2018: overall,verified,reviewTime,reviewerID,asin,style,reviewerName,reviewText,summary,unixReviewTime | reviewerID,asin,overall,reviewText,unixReviewTime
Amazon 2023: rating,title,text,images,asin,parent_asin,user_id,timestamp,helpful_vote,verified_purchase | user_id,parent_asin,rating,text,timestamp
Amazon US tsv: marketplace,customer_id,review_id,product_id,product_parent,product_title,product_category,star_rating,helpful_votes,total_votes,vine,verified_purchase,review_headline,review_body,review_date | customer_id,product_id,star_rating,review_body,review_date
Amazon fine foods: Id,ProductId,UserId,ProfileName,HelpfulnessNumerator,HelpfulnessDenominator,Score,Time,Summary,Text | UserId,ProductId,Score,Text,Time
Amazon SNAP: product/productId,product/title,product/price,review/userId,review/profileName,review/helpfulness,review/score,review/time,review/summary,review/text | review/userId,product/productId,review/score,review/text,review/time
Amazon phones: asin,name,rating,date,verified,title,body,helpfulVotes | name,asin,rating,body,date
Amazon ratings: userId,productId,Rating,timestamp | userId,productId,Rating,-,timestamp
Yelp: review_id,user_id,business_id,stars,useful,funny,cool,text,date | user_id,business_id,stars,text,date
HotelRec: hotel_url,author,date,rating,title,text,property_dict | author,hotel_url,rating,text,date
BeerAdvocate: beer/name,beer/beerId,beer/brewerId,beer/ABV,beer/style,review/appearance,review/aroma,review/palate,review/taste,review/overall,review/timeUnix,review/text,user/profileName,user/gender | user/profileName,beer/beerId,review/overall,review/text,review/timeUnix
RateBeer: beer/name,beer/beerId,beer/brewerId,review/overall,review/time,review/profileName,review/text | review/profileName,beer/beerId,review/overall,review/text,review/time
BeerAdvocate Kaggle: brewery_id,brewery_name,review_time,review_overall,review_aroma,review_appearance,review_profilename,beer_style,review_palate,review_taste,beer_name,beer_abv,beer_beerid | review_profilename,beer_beerid,review_overall,-,review_time
Goodreads: user_id,book_id,review_id,rating,review_text,date_added,date_updated,read_at,started_at,n_votes,n_comments | user_id,book_id,rating,review_text,date_added
Goodbooks: user_id,book_id,rating | user_id,book_id,rating,-,-
Food.com: user_id,recipe_id,date,rating,review | user_id,recipe_id,rating,review,date
Book-Crossing: User-ID,ISBN,Book-Rating | User-ID,ISBN,Book-Rating,-,-
RecBole: user_id:token,item_id:token,rating:float,timestamp:float | user_id:token,item_id:token,rating:float,-,timestamp:float
RecBole review: review_id:token,user_id:token,business_id:token,stars:float,review:token_seq,date:float | user_id:token,business_id:token,stars:float,review:token_seq,date:float
MovieLens: userId,movieId,rating,timestamp | userId,movieId,rating,-,timestamp
Douban Kaggle: ID,Movie_Name_EN,Movie_Name_CN,Crawl_Date,Number,Username,Date,Star,Comment,Like | Username,Movie_Name_EN,Star,Comment,Date
Douban moviedata: COMMENT_ID,USER_MD5,MOVIE_ID,CONTENT,VOTES,COMMENT_TIME,RATING | USER_MD5,MOVIE_ID,RATING,CONTENT,COMMENT_TIME
Dianping: userId,restId,rating,rating_env,rating_flavor,rating_service,timestamp,comment | userId,restId,rating,comment,timestamp
ezDouban: userId,movieId,rating,timestamp,comment,like | userId,movieId,rating,comment,timestamp
JD: comment_id,user_id,product_id,score,content,creation_time | user_id,product_id,score,content,creation_time
Zomato: Restaurant,Reviewer,Review,Rating,Metadata,Time,Pictures | Reviewer,Restaurant,Rating,Review,Time
Wine: country,description,designation,points,price,province,region_1,taster_name,taster_twitter_handle,title,variety,winery | taster_name,title,points,description,-
Datafiniti products: id,name,asins,brand,categories,keys,manufacturer,reviews.date,reviews.dateAdded,reviews.dateSeen,reviews.didPurchase,reviews.doRecommend,reviews.id,reviews.numHelpful,reviews.rating,reviews.sourceURLs,reviews.text,reviews.title,reviews.username | reviews.username,asins,reviews.rating,reviews.text,reviews.date
Datafiniti hotels: address,city,country,latitude,name,postalCode,province,reviews.date,reviews.dateAdded,reviews.rating,reviews.text,reviews.title,reviews.userCity,reviews.username | reviews.username,name,reviews.rating,reviews.text,reviews.date
Rotten Tomatoes: rotten_tomatoes_link,critic_name,top_critic,publisher_name,review_type,review_score,review_date,review_content | critic_name,rotten_tomatoes_link,review_score,review_content,review_date
Restaurants TripAdvisor: restaurant_name,rating_review,sample,review_id,title_review,review_preview,review_full,date,city,url_restaurant,author_id | author_id,restaurant_name,rating_review,review_full,date
Google Local: user_id,name,time,rating,text,pics,resp,gmap_id | user_id,gmap_id,rating,text,time
Google Maps Outscraper: name,google_id,place_id,review_id,author_title,author_id,review_text,review_rating,review_timestamp,review_datetime_utc | author_id,place_id,review_rating,review_text,review_timestamp
Google Maps Apify: title,text,stars,name,reviewerId,publishedAtDate,placeId | reviewerId,placeId,stars,text,publishedAtDate
Google Play: reviewId,userName,userImage,content,score,thumbsUpCount,reviewCreatedVersion,at,replyContent,repliedAt,appId | userName,appId,score,content,at
App Store: date,review,rating,isEdited,userName,title,app_name | userName,app_name,rating,review,date
App Store API: id,attributes.rating,attributes.review,attributes.userName,attributes.date,app_id | attributes.userName,app_id,attributes.rating,attributes.review,attributes.date
Trustpilot: Review Created (UTC),Domain URL,Webshop Name,Review Username,Review User Id,Review Title,Review Content,Review Stars,Source Of Review | Review User Id,Domain URL,Review Stars,Review Content,Review Created (UTC)
Judge.me: title,body,rating,review_date,source,curated,reviewer_name,reviewer_email,product_handle,reply,picture_urls | reviewer_name,product_handle,rating,body,review_date
Shopify: product_handle,state,rating,title,author,email,location,body,reply,created_at,replied_at | author,product_handle,rating,body,created_at
Yotpo: review_id,product_id,product_title,review_title,review_content,review_score,date,display_name,email | display_name,product_id,review_score,review_content,date
Loox: product_id,handle,rating,author,email,body,created_at,photo_url,verified_purchase | author,product_id,rating,body,created_at
Bazaarvoice: Id,ProductId,AuthorId,UserNickname,Rating,Title,ReviewText,SubmissionTime | AuthorId,ProductId,Rating,ReviewText,SubmissionTime
WooCommerce: comment_ID,comment_post_ID,comment_author,comment_date,comment_content,rating | comment_author,comment_post_ID,rating,comment_content,comment_date
IMDb: review_id,reviewer,movie,rating,review_summary,review_date,spoiler_tag,review_detail,helpful | reviewer,movie,rating,review_detail,review_date
Steam UCSD: username,product_id,hours,rating,text,date,early_access,page_order | username,product_id,rating,text,date
Steam Australia: user_id,user_url,item_id,funny,posted,last_edited,helpful,recommend,review | user_id,item_id,recommend,review,posted
Steam API: recommendationid,author.steamid,author.num_reviews,language,review,timestamp_created,voted_up,votes_up,appid | author.steamid,appid,voted_up,review,timestamp_created
Udemy: id,course_id,rate,date,display_name,comment | display_name,course_id,rate,comment,date
Coursera: reviews,reviewers,date_reviews,rating,course_id | reviewers,course_id,rating,reviews,date_reviews
MyAnimeList: user_id,anime_id,rating | user_id,anime_id,rating,-,-
Customer survey: Customer Name,Product Name,Rating,Comments,Review Date | Customer Name,Product Name,Rating,Comments,Review Date
SQL join: r.user_id,r.product_id,r.rating,r.comment,r.created_at | r.user_id,r.product_id,r.rating,r.comment,r.created_at
Table name: reviews.user_id,reviews.item_id,reviews.stars,reviews.body,reviews.created | reviews.user_id,reviews.item_id,reviews.stars,reviews.body,reviews.created
Camel: reviewerName,productId,starRating,reviewText,createdAt | reviewerName,productId,starRating,reviewText,createdAt
Upper: USER_ID,ITEM_ID,RATING,REVIEW_TEXT,REVIEW_DATE | USER_ID,ITEM_ID,RATING,REVIEW_TEXT,REVIEW_DATE
German: Kunde,Produkt,Sterne,Kommentar,Datum | Kunde,Produkt,Sterne,Kommentar,Datum
German shop: Kunden-Nr.,Artikelnummer,Bewertung,Rezensionstext,Erstellt am | Kunden-Nr.,Artikelnummer,Bewertung,Rezensionstext,Erstellt am
French: Utilisateur,Produit,Note,Commentaire,Date | Utilisateur,Produit,Note,Commentaire,Date
French reviews: pseudo,livre,étoiles,avis,date | pseudo,livre,étoiles,avis,date
Spanish: usuario,producto,calificación,reseña,fecha | usuario,producto,calificación,reseña,fecha
Spanish opinion: cliente,hotel,puntuación,opinión,fecha | cliente,hotel,puntuación,opinión,fecha
Italian: utente,prodotto,valutazione,recensione,data | utente,prodotto,valutazione,recensione,data
Portuguese: usuário,produto,avaliação,comentário,data | usuário,produto,avaliação,comentário,data
Chinese: 用户名,商品名称,评分,评论内容,评论时间 | 用户名,商品名称,评分,评论内容,评论时间
Chinese films: 用户,电影,星级,短评,日期 | 用户,电影,星级,短评,日期
Japanese: ユーザー名,商品名,評価,レビュー,投稿日 | ユーザー名,商品名,評価,レビュー,投稿日
""".strip().splitlines()
# Sets that name no user.
NO_USER = {
    "women's clothing": (
        "Clothing ID,Age,Title,Review Text,Rating,Recommended IND,Positive Feedback Count",
        "Clothing ID",
    ),
    "Alexa": ("rating,date,variation,verified_reviews,feedback,product", "product"),
    "drugs": ("uniqueID,drugName,condition,review,rating,date,usefulCount", "drugName"),
    "Disneyland": ("Review_ID,Rating,Year_Month,Reviewer_Location,Review_Text,Branch", "Branch"),
    "Google Play console": (
        "Package Name,App Version Code,Reviewer Language,Review Submit Millis Since Epoch,Star Rating,Review Text",
        "Package Name",
    ),
}
COLUMNS = ("user", "item", "rating", "text", "timestamp")


@pytest.mark.parametrize("line", HEADERS, ids=lambda line: line.partition(":")[0])
def test_header_is_recognised_whole(line: str) -> None:
    header, _, wanted = line.partition(": ")[2].partition(" | ")
    found = find_layout(header.split(","), {}).columns
    expected = {column: name for column, name in zip(COLUMNS, wanted.split(","), strict=True) if name != "-"}
    assert {column: found[column] for column in COLUMNS if found.get(column) in header.split(",")} == expected


@pytest.mark.parametrize("name", NO_USER)
def test_set_without_users_needs_one_option(name: str) -> None:
    header, item = NO_USER[name]
    with pytest.raises(DataError, match="no column that could be the user; found .*--user-col none"):
        find_layout(header.split(","), {})
    layout = find_layout(header.split(","), {"user": "none"})
    assert layout.columns["item"] == item
    assert {"rating", "text"} <= set(layout.columns)
    assert "user" not in layout.columns


def rows(count: int, **changes: list) -> dict[str, list]:
    return {
        "who": [f"u{n % 9}" for n in range(count)],
        "what": [f"i{n % 7}" for n in range(count)],
        "rating": [1 + n % 5 for n in range(count)],
        **changes,
    }


def test_missing_text_column_lists_the_columns(tmp_path: Path) -> None:
    said = [f"the room was number {n} of them" for n in range(40)]
    pl.DataFrame(rows(40, said_by_guest=said)).write_csv(tmp_path / "r.csv")
    named = {"user": "who", "item": "what"}
    with pytest.raises(
        DataError, match=r"no column looks like the text; found who, .*\(said_by_guest could.*--text-col"
    ):
        prepare([tmp_path / "r.csv"], tmp_path / "out", PrepareOptions(read=ReadOptions(columns=named)))
    without = PrepareOptions(read=ReadOptions(columns={**named, "text": "none"}))
    assert prepare([tmp_path / "r.csv"], tmp_path / "out", without)["counts"]["with_text"] == 0


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"title": [f"The long way to film {n}" for n in range(40)]},
        {"place": [f"Number {n % 7} of the High Street" for n in range(40)]},
        {"visited": ["3 weeks ago or so"[:11]] * 40},
        {"link": [f"https://example.org/a b c/{n}" for n in range(40)]},
    ],
    ids=["nothing", "titles", "of the item", "times", "links"],
)
def test_ratings_without_texts_are_said_in_one_line(tmp_path: Path, extra: dict) -> None:
    pl.DataFrame(rows(40, **extra)).write_csv(tmp_path / "r.csv")
    options = PrepareOptions(read=ReadOptions(columns={"user": "who", "item": "what"}))
    card = prepare([tmp_path / "r.csv"], tmp_path / "out", options)
    assert card["notes"]["text"] == "no column is the text: ratings without texts"


@pytest.mark.parametrize("name", ["*", "^.*$", "^who.*$", "line"])
def test_names_of_columns_are_data_never_patterns(tmp_path: Path, name: str) -> None:
    said = [f"the room was number {n} of them" for n in range(12)]
    pl.DataFrame({**rows(12), name: said}).write_parquet(tmp_path / "r.parquet")
    named = {"user": "who", "item": "what", "text": name}
    prepare([tmp_path / "r.parquet"], tmp_path / "out", PrepareOptions(read=ReadOptions(columns=named)))
    assert set(ReviewDataset.load(tmp_path / "out").interactions()["text"]) <= set(said)


def test_named_columns_for_a_file_with_a_header_are_refused(tmp_path: Path) -> None:
    (tmp_path / "r.tsv").write_text("user_id:token\titem_id:token\trating:float\nu1\ti1\t3\nu2\ti1\t4\n")
    options = PrepareOptions(read=ReadOptions(header=("user", "item", "rating")))
    with pytest.raises(DataError, match=r"line 1 names the columns already \(user_id:token.*leave out --columns"):
        prepare([tmp_path / "r.tsv"], tmp_path / "out", options)


def test_every_review_may_have_its_own_reviewer_and_the_file_may_be_the_item(tmp_path: Path) -> None:
    for place in ("Café du Nord", "museum.v2"):
        lines = "".join(f"{1 + n % 5},the view was fine {n}\n" for n in range(10))
        (tmp_path / f"{place}.csv").write_text(f"stars,review\n{lines}")
    options = PrepareOptions(read=ReadOptions(columns={"user": "none"}, item_from_file=True))
    card = prepare([tmp_path / "*.csv"], tmp_path / "out", options)
    frame = ReviewDataset.load(tmp_path / "out").interactions()
    assert (frame["item"].n_unique(), frame["user"].n_unique(), card["counts"]["users"]) == (2, 20, 0)
    assert set(frame["item"]) == {"Café du Nord", "museum.v2"}
    assert card["notes"]["user"] == "no column: every review by a reviewer of its own"


def test_evaluation_advises_no_option_of_prepare(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("who,item,rating,text\nu,i,3,fine\n")
    with pytest.raises(DataError, match="could be the user; found who") as caught:
        read_reviews(tmp_path / "r.csv")
    assert "--" not in str(caught.value)
