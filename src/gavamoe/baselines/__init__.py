"""The systems GaVaMoE is compared with, written from their papers, behind one interface.

base: the interface. registry: systems by name. simple, rating_system: systems without texts of their own making.
data, trainer, generate, neural: what all networks share. One file a published model: nrt, peter, pepler, xrec, ...
May import: the root modules, data, features, language.
"""
