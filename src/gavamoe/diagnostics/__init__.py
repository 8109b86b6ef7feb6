"""Describe what a trained run has learned, and judge it by named checks.

clusters, writing                 each cluster's size, labels, likes and dislikes; its words, lengths and typical users
clusterings, comparison           other clusterings of the same users, and the figures of all of them
latent_map                        the plane that shows clusters
routing                           pairs near a boundary, similar pairs with different gates, change under retraining
expert_probe, experts             stage 2 with gates exchanged or without an expert; specialisation and redundancy
text_checks, text_stability       figures of generated texts, and how texts change with other gates
named_check, checks, drift        a check and its thresholds; those of a run; those of newer reviews
figures, page                     the report
"""
