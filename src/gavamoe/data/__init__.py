"""Reviews: from files in the formats of public sets to a prepared dataset with ids, rating levels, features and splits.

Reading raw files: readers/ (reviews), items (item metadata), public/ (download). Preparing: prepare/. Using the result:
dataset and catalog, scale (ratings and levels). Also simulate (reviews with a known ground truth) and tables (output).

May import: gavamoe.features and the modules at the root of the package (errors, files, config, ...).
"""
