"""Prepare a dataset: turn raw review files into typed reviews with ids, rating levels, splits and features.

In order: options, ingest (files to typed Parquet parts), assign (ids and levels, using filters and splits), annotate
(features), card and card_page (what the dataset contains). pipeline calls them; `prepare` is its entry point.
ray_engine reads and annotates on a cluster; dry_run shows how sources would be read.

May import: gavamoe.data (readers, items, scale, catalog, dataset, tables), gavamoe.features, gavamoe.errors,
gavamoe.files, gavamoe.ray_cluster.
"""

from gavamoe.data.prepare.options import PrepareOptions
from gavamoe.data.prepare.pipeline import prepare

__all__ = ["PrepareOptions", "prepare"]
