"""Classifies failures, retries with back-off, and breaks circuits."""
