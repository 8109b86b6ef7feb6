"""Stage 1: a variational autoencoder of ratings with a Gaussian-mixture prior, which clusters (user, item) pairs.

networks, prior, losses, model, build  the model: encoder and decoder, mixture prior, ELBO, public methods
id_table                               tables of vectors by id, in which rare ids may share rows
update, warm_start                     training that goes on from another run
svd_init, mixture_fit                  where training starts: SVD of the ratings, mixture fitted to the latents
batches, epoch_trainer, trainer, validation  training: `trainer.fit_preference` is the entry point
posterior, fold_in, history            estimate of an unknown user from rated items
text_target, text_block, text_trainer  stage 1 that also reads: what it reconstructs of texts, the block, its training
choose_k, word_gain                    choice of the number of clusters, what clusters tell about words
item_features                          LSA vectors of item descriptions
recommender                            stage 1 of a run: ratings and recommendations by name (the entry point for use)
"""
