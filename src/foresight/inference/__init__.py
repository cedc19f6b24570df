"""Text and choices out of a checkpoint."""
