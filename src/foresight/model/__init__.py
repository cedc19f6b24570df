"""The decoder, its image path, and how every tensor scales."""
