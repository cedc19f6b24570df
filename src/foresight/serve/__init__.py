"""The service: an OpenAI-compatible API, its pages, and the watch over what goes through it."""
