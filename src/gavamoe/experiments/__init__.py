"""Comparisons: many systems, several seeds, stated conditions, and the tables they end in.

compare: the whole job. config, systems, ablations, gavamoe: what is compared. trial: one system with one seed.
prompted: the base model without training. training_timer, directory: seconds of an interrupted training, the directory.
aggregate, grids, tables, plots: results over seeds and how they are shown.
tune: the search of settings. tune_space, tune_trials, tune_report: what is searched, one trial, what is written.
"""
