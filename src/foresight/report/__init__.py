"""One self-contained page per experiment, with its figures."""
