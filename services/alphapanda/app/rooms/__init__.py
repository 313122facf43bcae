"""Builds each service's room on the resources that a process stands on: one file a service."""
