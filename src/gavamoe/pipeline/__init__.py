"""The main job: both stages are trained into a run directory, evaluated, explained in bulk and reported.

train, run_setup: training. eval_set, evaluation, evaluate: metrics. explain_file, pair_windows, ray_engine: bulk texts.
diagnose, report, model_card, demo: what is written about a run.
May import: every folder but experiments and cli.
"""
