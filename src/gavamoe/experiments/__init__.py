"""Comparisons: many systems, several seeds, stated conditions, and the tables they end in.

compare: the whole job. config, systems, ablations, gavamoe: what is compared. trial: one system with one seed.
aggregate, grids, tables, plots: results over seeds and how they are shown.
May import: every folder but cli.
"""
