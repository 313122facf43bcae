"""Keeps the registry of tradable instruments."""
