"""Records, logs and tasks of other evaluation frameworks."""
