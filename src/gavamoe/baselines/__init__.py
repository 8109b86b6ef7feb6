"""The systems GaVaMoE is compared with, written from their papers, behind one interface.

base: the interface. registry: systems by name. simple, rating_system: systems without texts of their own making.
user_systems: a system of the user's own. data, trainer, generate, neural, text_model, transformer, language_model: what
all networks share. One file a published model: att2seq, nrt, peter, pepler, pepler_discrete, xrec, lightgcn,
matrix_factorisation, rating_mlp.
"""
