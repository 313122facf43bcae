"""Runs the services' cores over recorded frames, in one synchronous loop without log, clock or database."""
