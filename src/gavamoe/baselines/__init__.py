"""The systems GaVaMoE is compared with, written from their papers, behind one interface."""
