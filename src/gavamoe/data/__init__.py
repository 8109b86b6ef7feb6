"""Reviews: from files in the formats of public sets to a prepared dataset with ids, rating levels, features and splits.

Reading raw files: readers/ (reviews), items (item metadata), public/ (download). Preparing: prepare/. Using the result:
dataset and catalog, id_map (ids of an older catalog), scale (ratings and levels), sentences. Also simulate (reviews
with a known ground truth; simulated_phrases, simulated_styles) and tables (output).
"""
