"""The main job: both stages are trained into a run directory, evaluated, explained in bulk and reported.

train, run_setup: training. eval_set, evaluation, evaluate: metrics. explain_file, diagnose, report, model_card, demo.
May import: every folder but experiments and cli.
"""
