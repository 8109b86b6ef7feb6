"""How much clusters say about the texts: stage 1 trained on ratings, features or words, beside other groupings.

    python benchmarks/quality/cluster_information.py DATA RUN [RUN ...] --clusters 5 20 --min-reviews 10

Each RUN is a run of stage 1 on DATA. The mixture of its latents is fitted anew for each number of clusters. The
figure is the information of a cluster: how much lower the loss of held-out reviews is under a unigram model of the
cluster than under one of all reviews, in nats per token (`gavamoe.preference.word_gain`). Validation reviews are held
out; the test split is not read.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.cluster import KMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from gavamoe.data.dataset import ReviewDataset
from gavamoe.markdown import markdown_table
from gavamoe.preference.batches import Interactions
from gavamoe.preference.mixture_fit import fit_components
from gavamoe.preference.model import PreferenceModel, assign_clusters
from gavamoe.preference.prior import MixturePrior
from gavamoe.preference.word_gain import WordCounts, text_gain

RESTARTS, LSA_WIDTH = 5, 32


class Texts:
    """Training and validation reviews with all their tokens as units.

    Args:
        data: a prepared dataset.
        least: smallest number of training reviews of the users that count.
    """

    def __init__(self, data: ReviewDataset, least: int):
        reviews = data.interactions("train", ["user_id"]).group_by("user_id").len()
        users = reviews.filter(pl.col("len") >= least)["user_id"].implode()
        self.train, self.valid = (
            data.interactions(s).filter(pl.col("user_id").is_in(users)) for s in ("train", "valid")
        )
        counts = WordCounts.of(self.train["text"].to_list(), self.valid["text"].to_list())
        if counts is None:
            raise SystemExit("the reviews of these users have no words")
        self.counts = counts

    def information(self, train_N: np.ndarray, valid_N: np.ndarray) -> float:
        """Return the information of a grouping in nats per token."""
        return text_gain(self.counts, train_N, valid_N).nats


def by_texts(texts: Texts, side: str, count: int, clusters: int) -> np.ndarray:
    """Return the cluster of each user or item by k-means on the LSA of what was written, [count + 1]."""
    joined = texts.train.group_by(side).agg(pl.col("text").str.join(" "))
    documents = [""] * (count + 1)
    for number, text in joined.iter_rows():
        documents[number] = text
    weights = TfidfVectorizer(sublinear_tf=True, min_df=3, stop_words="english").fit_transform(documents)
    vectors = TruncatedSVD(LSA_WIDTH, random_state=0).fit_transform(weights)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9
    return np.asarray(KMeans(clusters, n_init=RESTARTS, random_state=0).fit_predict(vectors))


def of_run(run: Path, data: ReviewDataset, texts: Texts, clusters: int) -> float:
    """Return the information of the clusters of a run, with its mixture fitted anew to so many clusters."""
    model = PreferenceModel.from_pretrained(run / "preference").eval()
    model.clusters, model.prior = clusters, MixturePrior(clusters, model.prior.mean_KD.shape[1])
    pairs = Interactions(data.arrays("train"))
    fit_components(model, pairs.counts(model.users, model.items)[0], pairs.sample(50_000), RESTARTS, seed=0)
    return texts.information(assign_clusters(model, texts.train), assign_clusters(model, texts.valid))


def main() -> None:
    """Print a table: one row per grouping, one column per number of clusters."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, nargs="*")
    parser.add_argument("--clusters", type=int, nargs="+", default=[5, 20])
    parser.add_argument("--min-reviews", type=int, default=1, help="training reviews of the users that count")
    options = parser.parse_args()
    data = ReviewDataset.load(options.data)
    texts = Texts(data, options.min_reviews)
    sizes = {"user_id": data.catalog.n_users, "item_id": data.catalog.n_items}
    rng = np.random.default_rng(0)
    rows: dict[str, list[float]] = {}
    for clusters in options.clusters:
        groups = [rng.integers(0, clusters, len(part)) for part in (texts.train, texts.valid)]
        rows.setdefault("random", []).append(texts.information(groups[0], groups[1]))
        for side, count in sizes.items():
            of_side = by_texts(texts, side, count, clusters)
            groups = [of_side[part[side].to_numpy()] for part in (texts.train, texts.valid)]
            name = f"{side.removesuffix('_id')}s by texts (LSA, k-means)"
            rows.setdefault(name, []).append(texts.information(groups[0], groups[1]))
        for run in options.runs:
            rows.setdefault(run.name, []).append(of_run(run, data, texts, clusters))
    print(f"{len(texts.train):,} training and {len(texts.valid):,} validation reviews, nats per token\n")
    heads = ["clusters of", *(f"K {clusters}" for clusters in options.clusters)]
    print(markdown_table(heads, [[name, *(f"{value:.4f}" for value in values)] for name, values in rows.items()]))


if __name__ == "__main__":
    main()
