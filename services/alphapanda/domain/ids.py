"""Ids. Every id is a UUIDv5 derived from its cause, so the same output computed twice has the same id.

This is rule 1 of the design: after a crash or a second delivery an output is computed again with the same id, and the
stores keep one row per id.
"""

from __future__ import annotations

import re
from base64 import b32encode
from datetime import datetime
from hashlib import sha1
from uuid import UUID

_NAMESPACE = sha1(UUID("7c6a3f0e-5d0b-5b57-9a5e-3f6f0c1d2e4a").bytes, usedforsecurity=False)
_SEPARATOR = "\x1f"
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TRACE = re.compile(r"[0-9a-f]{32}")
_ZEROS = 32 * "0"
_VARIANT = {f"{digit:x}": f"{digit & 0x3 | 0x8:x}" for digit in range(16)}


def derived_id(*parts: object) -> str:
    """The UUIDv5 of the parts, as text. They are joined by a separator that no part may contain."""
    return _uuid(_SEPARATOR.join(map(str, parts)))


def _uuid(name: str) -> str:
    named = _NAMESPACE.copy()
    named.update(name.encode())
    text = named.hexdigest()
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:32]}"


def frame_id(feed_run: str, shard: int, sequence: int) -> str:
    """The id of a tick frame."""
    return _uuid(f"frame\x1f{feed_run}\x1f{shard}\x1f{sequence}")


def signal_id(strategy_id: str, config_revision: int, frame: str, ordinal: int, n: int, broker: str) -> str:
    """The id of the n-th signal that a strategy's revision makes from the tick at `ordinal` of a frame, for one broker."""
    return _uuid(f"signal\x1f{strategy_id}\x1f{config_revision}\x1f{frame}\x1f{ordinal}\x1f{n}\x1f{broker}")


def output_id(producer: str, input_id: str, kind: str, n: int = 0) -> str:
    """The id of any other output: the n-th of its kind that a service makes from an input."""
    return _uuid(f"output\x1f{producer}\x1f{input_id}\x1f{kind}\x1f{n}")


def fill_id(broker: str, account: str, day: str, exchange_trade_id: str) -> str:
    """The id of a fill; `day` (YYYY-MM-DD) is part of it, because exchanges restart trade numbers each day."""
    return _uuid(f"fill\x1f{broker}\x1f{account}\x1f{day}\x1f{exchange_trade_id}")


def command_id(caller: str, method: str, request_id: str) -> str:
    """The id of a command received by RPC."""
    return derived_id("command", caller, method, request_id)


def timer_id(aggregate: str, kind: str, due: datetime) -> str:
    """The id of a timer's firing; `due` is aware market time."""
    return derived_id("timer", aggregate, kind, due.isoformat())


def intent_tag(intent_id: str) -> str:
    """The tag of an intent at its broker: 20 characters of A-Z and 2-7, the longest that Kite accepts."""
    return b32encode(UUID(intent_id).bytes[:12]).decode().rstrip("=")


def trace_id(correlation_id: str) -> str:
    """The trace id of a correlation id: the same 128 bits as 32 hex digits; empty for what isn't a UUID, or all zeros.

    W3C Trace Context forbids zeros alone, and asks for nothing else of the bits: a UUID of any version is a trace id.
    """
    text = correlation_id.lower()
    if not _UUID.fullmatch(text):
        return ""
    digits = text.replace("-", "")
    return "" if digits == _ZEROS else digits


def correlation_id(trace_id: str) -> str:
    """The correlation id of a trace id; empty for what isn't 32 lower-case hex digits, or is all zeros."""
    if not _TRACE.fullmatch(trace_id) or trace_id == _ZEROS:
        return ""
    return f"{trace_id[:8]}-{trace_id[8:12]}-{trace_id[12:16]}-{trace_id[16:20]}-{trace_id[20:]}"


def span_id(identity: str, what: str) -> str:
    """The id of the span that tells of what happened to something (an event, an order): 16 hex digits, derived.

    So whoever knows the identity knows the span, before and after a restart: a parent need not be looked up.
    """
    named = _NAMESPACE.copy()
    named.update(f"span\x1f{what}\x1f{identity}".encode())
    return named.hexdigest()[:16]
