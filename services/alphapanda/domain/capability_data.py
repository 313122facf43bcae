"""Reads the capability table from dated data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, time
from enum import Enum
from functools import lru_cache
from importlib import resources
from typing import Any, TypeVar

from alphapanda.domain.capabilities import (
    Answer,
    Can,
    CapabilityRule,
    CapabilityTable,
    OptionLimits,
    PhaseDay,
)
from alphapanda.domain.capability_question import Phase, Segment
from alphapanda.domain.order import OrderType, Product, Validity
from alphapanda.domain.session import Sureness

E = TypeVar("E", bound=Enum)

_CONDITIONS = frozenset(
    {
        "code", "says", "instead", "sureness", "source", "from", "until", "segments", "products", "order_types",
        "validities", "phases", "series", "other_series_than", "opens_only", "sessions_left", "days_left_above",
    }
)  # fmt: skip


@lru_cache(maxsize=1)
def load_capabilities() -> CapabilityTable:
    """The table shipped with the package."""
    shipped = resources.files("alphapanda.domain").joinpath("data/capabilities.json")
    return parse_capabilities(json.loads(shipped.read_text(encoding="utf-8")))


def parse_capabilities(document: Mapping[str, Any]) -> CapabilityTable:
    """The table of a document with the form of `data/capabilities.json`.

    Raises:
        ValueError: an entry has an unknown condition, value or date, or ends before it begins.
    """
    limits = document["option_limits"]
    return CapabilityTable(
        tuple(_rule(entry) for entry in document["rules"]),
        tuple(_phase_day(entry) for entry in document["phases"]),
        OptionLimits(
            date.fromisoformat(limits["from"]),
            limits["buy_above_percent"],
            limits["sell_below_percent"],
            Sureness(limits["sureness"]),
            limits["source"],
        ),
    )


def _rule(entry: Mapping[str, Any]) -> CapabilityRule:
    code, instead = entry["code"], entry["instead"]
    if unknown := set(entry) - _CONDITIONS:
        raise ValueError(f"the capability rule {code} has unknown conditions: {', '.join(sorted(unknown))}")
    since, until = _days(code, entry)
    message = f"{entry['says']}; use {instead}" if instead else entry["says"]
    other = entry.get("other_series_than")
    return CapabilityRule(
        answer=Answer(Can.NO, code, message, Sureness(entry["sureness"]), entry["source"]),
        since=since,
        until=until,
        segments=frozenset(map(Segment, entry.get("segments", ()))),
        products=_named(Product, entry, "products"),
        order_types=_named(OrderType, entry, "order_types"),
        validities=_named(Validity, entry, "validities"),
        phases=frozenset(map(Phase, entry.get("phases", ()))),
        series=frozenset(other if other is not None else entry.get("series", ())),
        other_series=other is not None,
        opens_only=entry.get("opens_only", False),
        sessions_left=entry.get("sessions_left"),
        days_left_above=entry.get("days_left_above"),
    )


def _phase_day(entry: Mapping[str, Any]) -> PhaseDay:
    since, until = _days("phases", entry)
    windows = tuple(
        (Phase(phase), time.fromisoformat(begins), time.fromisoformat(ends))
        for phase, begins, ends in entry["windows"]
    )
    if any(begins >= ends for _, begins, ends in windows):
        raise ValueError(f"a phase from {since} ends before it begins")
    stops_end = entry.get("cancels_untriggered_stops")
    return PhaseDay(
        frozenset(entry["segments"]),
        since,
        until,
        windows,
        None if stops_end is None else time.fromisoformat(stops_end),
        Sureness(entry["sureness"]),
        entry["source"],
    )


def _days(name: str, entry: Mapping[str, Any]) -> tuple[date, date | None]:
    since = date.fromisoformat(entry["from"])
    until = date.fromisoformat(entry["until"]) if "until" in entry else None
    if until is not None and until < since:
        raise ValueError(f"{name} from {since} ends on {until}, before it begins")
    return since, until


def _named(kind: type[E], entry: Mapping[str, Any], field: str) -> frozenset[E]:
    try:
        return frozenset(kind[name] for name in entry.get(field, ()))
    except KeyError as unknown:
        raise ValueError(f"{field} of {entry['code']}: {unknown} is unknown") from None
