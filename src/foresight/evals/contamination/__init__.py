"""Which questions stand in a training corpus, where, and what the score is without them."""
