"""The main job: both stages are trained into a run directory, evaluated, explained in bulk and reported.

train, update, run_setup, run_data                     training, updates of a run, and the data of a run
eval_set, evaluation, evaluate, rating_evaluation      metrics
model_metrics, swap_gap, sentence_ranking              metrics that need the model itself
language_models                                        language models that judge texts
explain_file, pair_windows, ray_engine                 texts for many pairs
pairs_file, history_file, explanation_store            files of pairs and of histories, the database of explanations
diagnose, diagnosed_run, drift                         what is right or wrong with a run
report, demo                                           what is written about a run
"""
