"""The rungs of P2's ladder: what our side does besides the bare hops, added to them one at a time."""

from __future__ import annotations

from typing import Final

EVENTS: Final = "events"
OUTBOX: Final = "outbox"
SQLALCHEMY: Final = "sqlalchemy"
LOGS: Final = "logs"
BOOKS: Final = "books"

RUNGS: Final = {
    EVENTS: "each hop decodes and validates the contract's event, and makes and encodes the next",
    OUTBOX: "what is published is read back from the database first, as a relay does",
    SQLALCHEMY: "the same statements by SQLAlchemy instead of the driver alone",
    LOGS: "a log line a hop, to its file and its channel's",
    BOOKS: "a fourth process reads the fills and commits twice: position and ledger",
}
"""What each rung adds to the one before."""
