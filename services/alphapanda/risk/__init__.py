"""Decides which signals become orders and of what quantity, and explains each refusal."""
