"""Score explanations and ratings, of this model or any other system: metrics, groups, intervals, tests, the report.

    comparable, training_texts ──> outputs ──> metrics/ ──> row_scores
    row_scores ──> score, groups, significance, bounds ──> report, plots

Modules: see the diagram; `profiles` retrieves by TF-IDF; `word_models` counts words of users and items; `score_file`
reads and scores a file of predictions, with the training texts that `training_file` reads. Metrics are in `metrics/`.
"""
