"""Builds each service's room from the process's resources: one file per service."""
