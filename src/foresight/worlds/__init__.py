"""Generators of the embedded default data: seeded, versioned, no downloads."""
