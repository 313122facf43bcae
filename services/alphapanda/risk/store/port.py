"""The port of risk's store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from google.protobuf.message import Message

from alphapanda.domain.order import TradingState
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.domain.verdict import Verdict
from alphapanda.risk.core.book import RiskBook
from alphapanda.storage.requests import CommandKey
from panda.events.v1.events_pb2 import Event


@dataclass(frozen=True, slots=True)
class KillSwitch:
    """A broker's kill switch.

    Attributes:
        broker: whose.
        state: what may be traded.
        revision: 0 where it was never set, then 1, 2, 3 ….
        changed_by: who set it.
        reason: why.
        changed_at: wall time of the change; None where it was never set.
    """

    broker: str
    state: TradingState = TradingState.ACTIVE
    revision: int = 0
    changed_by: str = ""
    reason: str = ""
    changed_at: datetime | None = None


class HeldPosition(NamedTuple):
    """A position that isn't flat, and the market time of the fill that opened it (None: unknown)."""

    key: PositionKey
    opened_at: datetime | None


Change = Callable[[KillSwitch], tuple[KillSwitch, Event] | None]
"""From the kill switch as it stands to the next revision and the event that tells of it; None changes nothing."""

Answer = Callable[[KillSwitch], Message]


class DecisionUnit(Protocol):
    """One transaction under an account's lock. It commits when its block ends without an error."""

    @property
    def trading_state(self) -> TradingState:
        """The broker's kill switch; it can't change before the unit has ended."""

    async def book(self, keys: Collection[PositionKey], signal_ids: Collection[str]) -> RiskBook:
        """The positions under these keys, the orders and verdicts of these signals. All of the unit's account."""

    async def verdict(self, signal_id: str) -> Verdict | None:
        """The verdict given on a signal."""

    async def save(self, book: RiskBook, verdicts: Sequence[Verdict], events: Sequence[Event]) -> None:
        """Stores what changed in the book, the verdicts given on it, and the events that tell of them."""


class RiskStore(Protocol):
    """Risk's own schema."""

    async def prepare(self, brokers: Sequence[str]) -> None:
        """Makes a row for each broker's kill switch that has none; those that are there stay as they are."""

    def unit(self, broker: str, account: str) -> AbstractAsyncContextManager[DecisionUnit]:
        """A transaction on an account; it waits for the one that holds the account's lock."""

    async def verdict(self, signal_id: str) -> Verdict | Signal | None:
        """The verdict on a signal, the signal itself while it waits, or None where it isn't known."""

    async def held_intraday(self, brokers: Collection[str]) -> Sequence[HeldPosition]:
        """The MIS positions of these brokers that aren't flat."""

    async def kill_switch(self, broker: str) -> KillSwitch:
        """A broker's kill switch; as never set where it has no row."""

    async def set_kill_switch(
        self, key: CommandKey, request: Message, broker: str, change: Change, answer: Answer
    ) -> bytes:
        """Carries out a command once: row, event and remembered answer in one transaction.

        It waits for the decisions under way; those that begin after it has returned see the new state.

        Returns:
            The answer, serialised; the one given before where the command was carried out before.

        Raises:
            RequestReused: the request_id came with another body.
        """
