"""The registry of what can be traded."""
