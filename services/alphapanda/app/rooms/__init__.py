"""Builds each service's room on the ground that a process stands on: one file a service."""
