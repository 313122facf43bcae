"""Circuit breakers: one for each dependency of a consumer's handlers and each broker (rule 5).

A circuit opens after a number of failures in a row. Then no record of that broker is tried until its wait is over. Then
one probe is made: if it succeeds, all circuits of that broker close; if it fails, the circuit opens again.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from alphapanda.resilience.failures import dependency_of, in_one_line

_PROBE_SECONDS = 0.05
"""How often the other partitions of a broker check whether the probe has ended."""

_logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Circuits:
    """The circuits of one broker, by dependency.

    Attributes:
        failures: failures in a row, by dependency.
        open: why a circuit is open, by dependency; a closed one has no entry.
        opened_at: clock time at which a circuit opened last; None while all are closed.
        probing: whether a probe is running.
    """

    failures: Counter[str] = field(default_factory=Counter)
    open: dict[str, str] = field(default_factory=dict)
    opened_at: float | None = None
    probing: bool = False


class Breakers:
    """The circuit breakers of a consumer, by broker and dependency.

    Args:
        failures: number of failures in a row that opens a circuit.
        seconds: how long a circuit stays open before a probe.
        clock: monotonic time in seconds.
    """

    def __init__(
        self,
        failures: int,
        seconds: float,
        clock: Callable[[], float] = lambda: asyncio.get_running_loop().time(),
    ) -> None:
        self._failures = failures
        self._seconds = seconds
        self._clock = clock
        self._brokers: defaultdict[str, _Circuits] = defaultdict(_Circuits)

    def closed_for(self, broker: str) -> float:
        """Returns how many seconds the broker's records have to wait; 0 where an attempt may be made."""
        circuits = self._brokers[broker]
        if circuits.opened_at is None:
            return 0.0
        left = circuits.opened_at + self._seconds - self._clock()
        if left > 0:
            return left
        return _PROBE_SECONDS if circuits.probing else 0.0

    async def watched(
        self, broker: str, attempt: Callable[[], Awaitable[Exception | None]]
    ) -> Exception | None:
        """Makes an attempt that `closed_for` allows, and counts its outcome.

        Args:
            broker: broker of the records; empty for shared topics.
            attempt: returns its failure, or None where it succeeded.
        """
        circuits = self._brokers[broker]
        circuits.probing = circuits.opened_at is not None
        try:
            error = await attempt()
        finally:
            circuits.probing = False
        if error is None:
            self._close(broker, circuits)
        elif dependency := dependency_of(error):
            self._count(broker, circuits, dependency, error)
        return error

    def probe_now(self) -> None:
        """Lets the next attempt of each broker be made at once: a dependency has come back."""
        for circuits in self._brokers.values():
            if circuits.opened_at is not None:
                circuits.opened_at = self._clock() - self._seconds

    def reason(self, broker: str) -> str:
        """Returns why the broker's records wait, in one line; empty where they don't."""
        return "; ".join(self._brokers[broker].open.values())

    def open_circuits(self, broker: str) -> tuple[str, ...]:
        """Returns the dependencies that a broker's records wait for."""
        return tuple(self._brokers[broker].open)

    def _count(self, broker: str, circuits: _Circuits, dependency: str, error: Exception) -> None:
        circuits.failures[dependency] += 1
        if circuits.failures[dependency] < self._failures:
            return
        circuits.opened_at = self._clock()
        text = in_one_line(error)
        if dependency not in circuits.open:
            _logger.error("breaker.opened", alarm=True, broker=broker, dependency=dependency, error=text)
        circuits.open[dependency] = f"circuit to {dependency} is open: {text}"

    def _close(self, broker: str, circuits: _Circuits) -> None:
        for dependency in circuits.open:
            _logger.info("breaker.closed", broker=broker, dependency=dependency)
        circuits.failures.clear()
        circuits.open.clear()
        circuits.opened_at = None
