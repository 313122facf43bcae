"""Strategies: what they want to hold, tick by tick."""
