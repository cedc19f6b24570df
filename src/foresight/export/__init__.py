"""Checkpoints in forms that other programs serve."""
