"""Kite's HTTP API of one account as the trader calls it, answered by the stub exchange's desk without HTTP, and as badly as a seed says."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from tests.kite_exchange.errors import KiteError as Refusal
from tests.kite_exchange.exchange import Exchange
from tests.kite_exchange.faults import Fault
from tests.kite_exchange.json_form import plain

from alphapanda.kite.limiter import CallKind
from alphapanda.kite.outcomes import KiteError, RawFailure, Stage, kite_error
from alphapanda.kite.session import KiteSession, SessionFollower

USER: Final = "AB1234"
TIMED_OUT: Final = "Order request timed out. Please check the order book and confirm before placing again."
DONE: Final = ("timed out", "lost", "html", "data")
"""Answers that say nothing, of what was done."""
NOT_DONE: Final = ("lost before", "html before", "unlisted")
"""Answers that say nothing, of what was not done."""
CERTAIN: Final = ("429", "unreachable")
"""Answers by which nothing was done, for certain."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a call: `answer` is "" or one of the kinds above; an order is hidden for so many seconds, trades in parts, or is lost when it triggers."""

    answer: str = ""
    hidden: float = 0.0
    part: int = 0
    stop_lost: bool = False


_FAILURES: Final = {
    "timed out": RawFailure(Stage.ANSWERED, 400, "InputException", TIMED_OUT),
    "lost": RawFailure(Stage.SENT, message="no whole answer in time"),
    "html": RawFailure(Stage.ANSWERED, 502, "", "the answer is no JSON: Bad Gateway"),
    "data": RawFailure(Stage.ANSWERED, 502, "DataException", "a bad answer of the OMS"),
    "lost before": RawFailure(Stage.SENT, message="the connection broke before the answer"),
    "html before": RawFailure(Stage.ANSWERED, 502, "", "the answer is no JSON: Bad Gateway"),
    "unlisted": RawFailure(Stage.ANSWERED, 400, "InputException", "words that nobody has seen"),
    "429": RawFailure(Stage.ANSWERED, 429, "NetworkException", "Too many requests"),
    "unreachable": RawFailure(Stage.NOT_SENT, message="no connection: nobody listens there"),
}
"""What the client sees of each."""


class DeskRest:
    """Takes the place of KiteRest.

    Args:
        exchange: the stub exchange.
        fate: what becomes of the next call that changes something, by its tag; of one that asks, with an empty tag.
        seconds: how long an answer takes.

    Attributes:
        session: a session that lives.
        calls: how often each tag was placed.
    """

    account = "default"

    def __init__(self, exchange: Exchange, fate: Callable[[str], Fate], seconds: float = 0.0) -> None:
        self.session = SessionFollower("default", exchange.clock.now)
        self.session.put(KiteSession("default", 1, "s1", "key", "token"))
        self.calls: Counter[str] = Counter()
        self._exchange = exchange
        self._fate = fate
        self._seconds = seconds

    async def orders(self) -> Sequence[Mapping[str, Any]]:
        """The order book."""
        return await self._asked(lambda: [one.row() for one in self._exchange.desk.book(USER)])

    async def order_trades(self, order_id: str) -> Sequence[Mapping[str, Any]]:
        """The trades of an order."""
        return await self._asked(
            lambda: [one.row() for one in self._exchange.desk.trades if one.order.order_id == order_id]
        )

    async def trades(self) -> Sequence[Mapping[str, Any]]:
        """All trades."""
        return await self._asked(lambda: [one.row() for one in self._exchange.desk.trades])

    async def positions(self) -> Mapping[str, Any]:
        """Net positions."""
        return await self._asked(
            lambda: {
                "net": [
                    {
                        "exchange": one.listed.exchange,
                        "tradingsymbol": one.listed.tradingsymbol,
                        "product": one.product,
                        "quantity": one.quantity,
                    }
                    for one in self._exchange.desk.account(USER).positions.values()
                ]
            }
        )

    async def holdings(self) -> Sequence[Mapping[str, Any]]:
        """None."""
        return ()

    async def place_order(self, kind: CallKind, *, variety: str, **terms: Any) -> str:
        """Places an order, unless its fate is another one."""
        self.session.require()
        tag = str(terms["tag"])
        self.calls[tag] += 1
        fate = self._fate(tag)
        fault = Fault("partial", quantity=fate.part) if fate.part else None
        fault = Fault("stop_lost") if fate.stop_lost else fault

        def done() -> str:
            order = self._exchange.desk.place(USER, variety, _form(terms), api_key="key", fault=fault)
            if fate.hidden:
                order.hidden_until_ns = order.placed_ns + int(fate.hidden * 1e9)
            return order.order_id

        return await self._changed(fate, "place_order", done)

    async def modify_order(self, kind: CallKind, *, variety: str, order_id: str, **terms: Any) -> str:
        """Modifies an order."""
        self.session.require()
        return await self._changed(
            self._fate(""),
            "modify_order",
            lambda: self._exchange.desk.modify(USER, order_id, _form(terms)).order_id,
        )

    async def cancel_order(self, variety: str, order_id: str) -> str:
        """Cancels an order."""
        self.session.require()
        return await self._changed(
            self._fate(""), "cancel_order", lambda: self._exchange.desk.cancel(USER, order_id).order_id
        )

    async def _asked(self, answer: Callable[[], Any]) -> Any:
        self.session.require()
        await asyncio.sleep(self._seconds)
        fate = self._fate("")
        if fate.answer:
            raise self._error("orders", _FAILURES[fate.answer])
        return plain(answer())

    async def _changed(self, fate: Fate, call: str, done: Callable[[], str]) -> str:
        if fate.answer in NOT_DONE + CERTAIN:
            raise self._error(call, _FAILURES[fate.answer])
        try:
            order_id = done()
        except Refusal as refusal:
            failure = RawFailure(Stage.ANSWERED, refusal.status, refusal.error_type, refusal.message)
            raise self._error(call, failure) from None
        await asyncio.sleep(self._seconds)
        if fate.answer:
            raise self._error(call, _FAILURES[fate.answer])
        return order_id

    def _error(self, call: str, failure: RawFailure) -> KiteError:
        return kite_error(self.account, call, failure)


def _form(terms: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in terms.items() if value is not None}


def drawn(chance: Random, trouble: float, hidden_within: float = 120.0) -> Fate:
    """A fate by chance: with probability `trouble` the answer says nothing, or nothing was done."""
    if chance.random() >= trouble:
        return Fate(part=chance.choice((0, 0, 3)))
    answer = chance.choice(DONE + NOT_DONE + CERTAIN)
    hidden = chance.random() * hidden_within if answer in DONE and chance.random() < 0.7 else 0.0
    return Fate(answer, hidden, chance.choice((0, 0, 3)))
