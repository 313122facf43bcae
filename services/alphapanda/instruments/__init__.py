"""The registry of tradable instruments."""
