"""Figures are collected where somebody gets them."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from alphapanda.app.measuring import open_metrics
from alphapanda.settings.sources import load_settings

COLLECTOR = {"ALPHAPANDA_TELEMETRY__OTLP_ENDPOINT": "http://127.0.0.1:1"}


@pytest.mark.parametrize(
    ("environment", "opened"),
    [
        ({}, False),
        (COLLECTOR, True),
        ({**COLLECTOR, "ALPHAPANDA_TELEMETRY__OTLP_METRICS": "false"}, False),
        ({**COLLECTOR, "ALPHAPANDA_MONITORING__METRICS": "false"}, False),
    ],
)
async def test_figures_are_delivered_to_a_collector_that_takes_them(environment, opened) -> None:
    """A collector gets figures with the traces, unless it takes traces alone or figures are off."""
    async with AsyncExitStack() as stack:
        assert (open_metrics(load_settings(environment), stack) is not None) is opened
