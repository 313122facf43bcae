"""Identities. Every id follows from what caused it (UUIDv5), so that doing a thing twice names the same thing.

Rule 1 of the design: whoever computes an output again, after a crash or a second delivery, gets the same id, and the
stores keep one row per id.
"""

from __future__ import annotations

from base64 import b32encode
from datetime import datetime
from hashlib import sha1
from uuid import UUID

_NAMESPACE = UUID("7c6a3f0e-5d0b-5b57-9a5e-3f6f0c1d2e4a").bytes
_SEPARATOR = "\x1f"


def derived_id(*parts: object) -> str:
    """UUIDv5 of the parts, as text. Parts are joined by a character that none of them holds."""
    digest = bytearray(
        sha1(_NAMESPACE + _SEPARATOR.join(map(str, parts)).encode(), usedforsecurity=False).digest()[:16]
    )
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def frame_id(feed_run: str, shard: int, sequence: int) -> str:
    """Id of a tick frame."""
    return derived_id("frame", feed_run, shard, sequence)


def signal_id(strategy_id: str, config_revision: int, frame: str, ordinal: int, n: int, broker: str) -> str:
    """Id of the n-th signal that a strategy's revision made of the tick at `ordinal` in a frame, for one broker."""
    return derived_id("signal", strategy_id, config_revision, frame, ordinal, n, broker)


def output_id(producer: str, input_id: str, kind: str, n: int = 0) -> str:
    """Id of any other output: the n-th of its kind that a service makes of an input."""
    return derived_id("output", producer, input_id, kind, n)


def command_id(caller: str, method: str, request_id: str) -> str:
    """Id of a command that came by RPC."""
    return derived_id("command", caller, method, request_id)


def timer_id(aggregate: str, kind: str, due: datetime) -> str:
    """Id of a timer's firing. `due` is market time, aware."""
    return derived_id("timer", aggregate, kind, due.isoformat())


def intent_tag(intent_id: str) -> str:
    """The tag under which a broker knows an intent: 20 characters of A-Z and 2-7, the most that Kite takes."""
    return b32encode(UUID(intent_id).bytes[:12]).decode().rstrip("=")
