"""Optimiser, trainer, checkpoints, validation, and many runs side by side."""
