"""How many calls a server works on at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CallBounds:
    """The bounds of a server; the settings `api.max_…` set them.

    Attributes:
        max_connections: connections; one more is closed.
        max_queries: calls that change nothing.
        max_queries_per_connection: of one connection.
        max_commands: commands until their effect has ended, which may be after their call.
        max_commands_per_connection: of one connection.
        max_watches: streams, those of reflection and health among them.
        max_watches_per_connection: of one connection.
        max_urgent_calls: kill switches, square-off, health checks.
        max_urgent_calls_per_connection: of one connection.
        max_requests_per_second: of one caller who has signed in, urgent calls apart; 0 for no limit.
    """

    max_connections: int = 1000
    max_queries: int = 128
    max_queries_per_connection: int = 32
    max_commands: int = 1024
    max_commands_per_connection: int = 512
    max_watches: int = 2000
    max_watches_per_connection: int = 64
    max_urgent_calls: int = 64
    max_urgent_calls_per_connection: int = 16
    max_requests_per_second: int = 500

    @property
    def streams(self) -> int:
        """HTTP/2 streams of one connection: all that it may have at once, and as many again to be refused on."""
        return 2 * (
            self.max_queries_per_connection
            + self.max_commands_per_connection
            + self.max_watches_per_connection
            + self.max_urgent_calls_per_connection
        )


DEFAULT_BOUNDS = CallBounds()
