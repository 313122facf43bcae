"""Renders what a replay came to as one HTML file that needs no network."""
