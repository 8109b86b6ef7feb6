"""Score explanations and ratings, of this model or any other system: metrics, groups, intervals, tests, the report.

    comparable ──> outputs ──> metrics/ ──> row_scores ──> score, groups, significance ──> report, plots

Modules: see the diagram; `score_file` reads and scores a file of predictions. Metric definitions are in `metrics/`.
May import: root modules, `data`, `features`. It never imports a model: it receives outputs.
"""
