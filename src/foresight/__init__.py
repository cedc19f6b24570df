"""foresight: train the model you predicted."""

__version__ = "0.1.0"
