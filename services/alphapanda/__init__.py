"""Alpha Panda: event-driven algorithmic trading for the Indian market."""

__version__ = "0.1.0"
