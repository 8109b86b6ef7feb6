"""The public review sets by name: where they are published, under what terms, and which files to download."""

from __future__ import annotations

from dataclasses import dataclass

from gavamoe.errors import DataError

AMAZON_2018 = "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_v2"
AMAZON_2023 = "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/raw"
AMAZON_TERMS = "for research; no licence is stated by the publishers, cite them"


@dataclass(frozen=True)
class SetFile:
    """A file of a public set.

    Args:
        url: the address.
        sha256: the checksum, if the publisher states one.
    """

    url: str
    sha256: str | None = None

    @property
    def name(self) -> str:
        """The file name, taken from the address."""
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class PublicSet:
    """A public set of reviews.

    Args:
        name: the name in `gavamoe data get`.
        about: one line on the content.
        page: the publisher's page.
        licence: the terms, as the publisher states them.
        size: number of reviews.
        files: the files; empty if they cannot be downloaded automatically.
        by_hand: how to download the files by hand, if there is a login or a form.
    """

    name: str
    about: str
    page: str
    licence: str
    size: str
    files: tuple[SetFile, ...] = ()
    by_hand: str = ""


def _amazon_2018(category: str, title: str, size: str) -> PublicSet:
    """Describe a category of the Amazon reviews of 2018."""
    return PublicSet(
        f"amazon-2018-{category.lower().replace('_', '-')}",
        f"Amazon reviews 2018, {title}, 5-core, with item metadata",
        "https://nijianmo.github.io/amazon/",
        AMAZON_TERMS,
        size,
        (
            SetFile(f"{AMAZON_2018}/categoryFilesSmall/{category}_5.json.gz"),
            SetFile(f"{AMAZON_2018}/metaFiles2/meta_{category}.json.gz"),
        ),
    )


def _amazon_2023(category: str, title: str, size: str) -> PublicSet:
    """Describe a category of the Amazon reviews of 2023."""
    return PublicSet(
        f"amazon-2023-{category.lower().replace('_', '-')}",
        f"Amazon reviews 2023, {title}, with item metadata",
        "https://amazon-reviews-2023.github.io/",
        AMAZON_TERMS,
        size,
        (
            SetFile(f"{AMAZON_2023}/review_categories/{category}.jsonl.gz"),
            SetFile(f"{AMAZON_2023}/meta_categories/meta_{category}.jsonl.gz"),
        ),
    )


SETS = (
    _amazon_2018("Gift_Cards", "gift cards", "2,972 reviews"),
    _amazon_2018("Movies_and_TV", "films", "3.4 million reviews"),
    _amazon_2018("Digital_Music", "music", "170 thousand reviews"),
    _amazon_2023("Gift_Cards", "gift cards", "152 thousand reviews"),
    _amazon_2023("All_Beauty", "beauty", "702 thousand reviews"),
    _amazon_2023("Movies_and_TV", "films", "17 million reviews"),
    PublicSet(
        "yelp",
        "Yelp academic dataset: reviews of businesses",
        "https://business.yelp.com/data/resources/open-dataset/",
        "Yelp dataset terms of use: academic, no redistribution",
        "7 million reviews",
        by_hand="accept the terms on the page, unpack the archive, then: gavamoe prepare "
        "yelp_academic_dataset_review.json --out DATA (business.json beside it is joined)",
    ),
    PublicSet(
        "hotelrec",
        "HotelRec: 50 million TripAdvisor hotel reviews",
        "https://github.com/Diego999/HotelRec",
        "as stated on the page; for research",
        "50 million reviews",
        by_hand="follow the link of the page, then: gavamoe prepare HotelRec.txt --format tripadvisor --out DATA",
    ),
    PublicSet(
        "pepler",
        "PETER/PEPLER sets (Yelp, Amazon movies, TripAdvisor) with features and five splits",
        "https://github.com/lileipisces/PEPLER",
        "as stated on the page; for research",
        "0.3 to 1.3 million reviews each",
        by_hand="fetch a set from the link of the page, then: gavamoe prepare TripAdvisor/reviews.pickle "
        "--index TripAdvisor/1 --split column --out DATA",
    ),
    PublicSet(
        "xrec",
        "XRec sets (Amazon books, Google, Yelp) with explanations written by a language model",
        "https://github.com/HKUDS/XRec",
        "Apache-2.0 (the repository); the reviews keep the terms of their sources",
        "about 0.1 million explanations each",
        by_hand="clone the repository, then: gavamoe prepare data/yelp/trn.pkl data/yelp/val.pkl data/yelp/tst.pkl "
        "--split column --out DATA",
    ),
)


def find_set(name: str) -> PublicSet:
    """Return the public set with this name.

    Raises:
        DataError: there is no such set; lists the names.
    """
    for named in SETS:
        if named.name == name:
            return named
    raise DataError(f"no set is called '{name}': expected one of {', '.join(named.name for named in SETS)}")
