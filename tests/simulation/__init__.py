"""Deterministic simulation: every process of the mesh in one thread, with a clock, a scheduler and faults by a seed."""
