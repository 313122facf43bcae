"""The reasons of refusals: one a rule, and those of signals that no rule judged."""

from __future__ import annotations

from typing import Final

from alphapanda.risk.core.rules import RULES

UNJUDGED: Final = (
    "ALREADY_AT_TARGET",
    "SUPERSEDED",
    "POSITION_UNKNOWN",
    "OPEN_ORDER",
    "SIZE",
    "DISCARDED",
)
"""Reasons of refusals before any rule is asked."""

REASONS: Final = tuple(sorted({*UNJUDGED, *(rule.reason for rule in RULES)}))
"""All reasons."""
