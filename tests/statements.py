"""Statements counted where they are sent, so that a test can say how many something costs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine


@dataclass
class Sent:
    """Statements in the order they were sent; BEGIN, COMMIT and ROLLBACK are the driver's own."""

    statements: list[str] = field(default_factory=list)

    def listen(self, engine: AsyncEngine) -> None:
        """To be called before the engine's first connection."""
        event.listen(engine.sync_engine, "before_cursor_execute", self._executes)
        event.listen(engine.sync_engine, "connect", self._connects)

    def _executes(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        self.statements.append(statement)

    def _connects(self, connection: Any, _record: Any) -> None:
        connection.driver_connection.add_query_logger(self._logs)

    def _logs(self, sent: Any) -> None:
        if sent.query.startswith(("BEGIN", "COMMIT", "ROLLBACK")):
            self.statements.append(sent.query)
