"""Asks the services about a chain of events. What a service doesn't answer is named; the others' answers are told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from alphapanda.commands.asking import Services
from alphapanda.commands.story.facts import MANUAL, Facts, is_event
from alphapanda.contract.topics import payload_policies
from alphapanda.mesh.status import describe_rpc_error
from panda.events.v1.portfolio_pb2 import PortfolioSnapshot
from panda.ops.v1.ops_pb2 import ListAuditEntriesRequest, SearchRecordsRequest
from panda.portfolio.v1.portfolio_pb2 import (
    Fill,
    GetEquityCurveRequest,
    ListFillsRequest,
    ListLedgerEntriesRequest,
)
from panda.risk.v1.risk_pb2 import GetVerdictRequest, ListVerdictsRequest
from panda.trading.v1.trading_pb2 import GetOrderRequest, ListOrdersRequest, Order

A_PAGE: Final = 500
ENTRIES: Final = 1_000
POINTS: Final = 50
BEFORE_ORDER: Final = timedelta(minutes=10)
"""An order's chain of events begins at most this long before the order is stored, unless its signal waited."""
AROUND_SIGNAL: Final = timedelta(minutes=1)
"""A frame is published at most this long before its signal is made."""

Answer = TypeVar("Answer")


class Gathering:
    """Collects what the services know.

    Args:
        services: where they are asked.

    Attributes:
        facts: what they have answered so far.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._answered = False
        self._away: grpc.aio.AioRpcError | None = None
        self.facts = Facts()

    async def named(self, asked: str) -> str:
        """Asks for whatever an id may be the id of; returns the correlation id, empty where nothing names it.

        Raises:
            grpc.aio.AioRpcError: no service could be reached.
        """
        services, facts = self._services, self.facts
        order, of_signal, of_chain, verdict, verdicts = await asyncio.gather(
            self._ask("trading", services.trading.GetOrder(GetOrderRequest(order_id=asked))),
            self._ask("trading", services.trading.ListOrders(ListOrdersRequest(signal_id=asked))),
            self._ask(
                "trading",
                services.trading.ListOrders(ListOrdersRequest(correlation_id=asked, page_size=A_PAGE)),
            ),
            self._ask("risk", services.risk.GetVerdict(GetVerdictRequest(signal_id=asked))),
            self._ask(
                "risk",
                services.risk.ListVerdicts(ListVerdictsRequest(correlation_id=asked, page_size=A_PAGE)),
            ),
        )
        facts.add_orders([order.order] if order else [])
        facts.add_orders([*(of_signal.orders if of_signal else ()), *(of_chain.orders if of_chain else ())])
        facts.add_verdicts([verdict.verdict] if verdict else [])
        facts.add_verdicts(verdicts.verdicts if verdicts else [])
        if not facts.orders:
            await self._search([asked])
            facts.add_orders(await self._orders_of_events())
        if self._away is not None and not self._answered:
            raise self._away
        if not (facts.orders or facts.verdicts or facts.records):
            await self._commands(asked)
        if not (facts.orders or facts.verdicts or facts.records or facts.commands):
            await self._search([asked], topics=[_frames()])
        return facts.correlation_of(asked)

    async def chain(self, correlation_id: str) -> None:
        """Asks for everything that belongs to a chain."""
        services, facts = self._services, self.facts
        orders, verdicts = await asyncio.gather(
            self._ask(
                "trading",
                services.trading.ListOrders(
                    ListOrdersRequest(correlation_id=correlation_id, page_size=A_PAGE)
                ),
            ),
            self._ask(
                "risk",
                services.risk.ListVerdicts(
                    ListVerdictsRequest(correlation_id=correlation_id, page_size=A_PAGE)
                ),
            ),
        )
        facts.add_orders(orders.orders if orders else [])
        facts.add_verdicts(verdicts.verdicts if verdicts else [])
        created = [one.created_at.ToDatetime(UTC) for one in facts.orders.values()]
        since = min(created) - BEFORE_ORDER if created else None
        await self._search([correlation_id], since=since)
        if since is not None and not self._has_signals():  # one may have waited long for an open order
            await self._search([correlation_id])
        await asyncio.gather(
            self._frame(correlation_id),
            self._waiting(),
            self._commands(correlation_id),
            *map(self._booked, facts.orders.values()),
        )

    # -- single questions ---------------------------------------------------------------------------------------------

    async def _search(
        self,
        ids: Sequence[str],
        topics: Sequence[str] = (),
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> None:
        request = SearchRecordsRequest(
            ids=ids, topics=topics, since=_timestamp(since), until=_timestamp(until), limit=ENTRIES
        )
        found = await self._ask("ops", self._services.ops.SearchRecords(request))
        if found is None:
            return
        self.facts.add_records(found.records)
        self.facts.letters.update((letter.letter_id, letter) for letter in found.letters)
        self.facts.examined += found.examined
        if found.incomplete:
            self._missing(f"log: {found.incomplete}")

    async def _orders_of_events(self) -> list[Order]:
        """The orders whose events name the id: that of a fill, or of an event."""
        ids = {
            getattr(one.event, payload).order.order_id
            for one in self.facts.records
            if is_event(one) and (payload := one.event.WhichOneof("payload") or "").startswith("order_")
        }
        found = await asyncio.gather(
            *(
                self._ask("trading", self._services.trading.GetOrder(GetOrderRequest(order_id=one)))
                for one in ids
            )
        )
        return [one.order for one in found if one is not None]

    async def _commands(self, correlation_id: str) -> None:
        """Asks the audit who gave a command that belongs to the chain."""
        request = ListAuditEntriesRequest(correlation_id=correlation_id, page_size=A_PAGE)
        found = await self._ask("ops", self._services.ops.ListAuditEntries(request))
        if found is not None:
            self.facts.commands = [*reversed(found.entries)]

    def _has_signals(self) -> bool:
        """Whether the log has shown the signal of each order; a person's order has none."""
        made = {one.event.event_id for one in self.facts.records}
        orders = [one.state for one in self.facts.orders.values()]
        return all(one.strategy_id == MANUAL or one.signal_id in made for one in orders)

    async def _frame(self, correlation_id: str) -> None:
        """Looks for the frame that began the chain, near the time of its first signal."""
        if any(one.event.event_id == correlation_id for one in self.facts.records):
            return
        made = [
            one.event.occurred_at.ToDatetime(UTC)
            for one in self.facts.records
            if is_event(one) and one.event.HasField("trading_signal")
        ]
        if made:
            since, until = min(made) - AROUND_SIGNAL, min(made) + AROUND_SIGNAL
            await self._search([correlation_id], [_frames()], since, until)

    async def _waiting(self) -> None:
        """Asks risk about signals that have no verdict yet: they may wait for an open order."""
        signals = [
            one.event.event_id
            for one in self.facts.records
            if is_event(one) and one.event.HasField("trading_signal")
        ]
        for signal in signals:
            if signal not in self.facts.verdicts:
                request = GetVerdictRequest(signal_id=signal)
                found = await self._ask("risk", self._services.risk.GetVerdict(request))
                self.facts.add_verdicts([found.verdict] if found else [])

    async def _booked(self, order: Order) -> None:
        """Asks portfolio for the fills of an order, their ledger entries, and the snapshot that shows them first."""
        if not order.state.filled_quantity:
            return
        portfolio, facts = self._services.portfolio, self.facts
        whose = {"broker": order.broker, "account": order.state.account, "order_id": order.state.order_id}
        fills, entries = await asyncio.gather(
            self._ask("portfolio", portfolio.ListFills(ListFillsRequest(**whose, page_size=A_PAGE))),
            self._ask(
                "portfolio",
                portfolio.ListLedgerEntries(ListLedgerEntriesRequest(**whose, page_size=ENTRIES)),
            ),
        )
        if fills is not None:
            facts.fills.update((one.fill_id, one) for one in fills.fills)
            for fill in fills.fills:
                if (shown := await self._shown_by(fill)) is not None:
                    facts.snapshots[fill.fill_id] = shown
        if entries is not None:
            facts.entries += entries.entries

    async def _shown_by(self, fill: Fill) -> PortfolioSnapshot | None:
        request = GetEquityCurveRequest(
            broker=fill.broker, account=fill.account, start_time=fill.traded_at, page_size=POINTS
        )
        curve = await self._ask("portfolio", self._services.portfolio.GetEquityCurve(request))
        points = curve.points if curve else ()
        return next((one for one in points if one.revision >= fill.revision), None)

    async def _ask(self, service: str, call: Awaitable[Answer]) -> Answer | None:
        """Returns an answer; None where there is no such thing, or no answer, which is then named."""
        try:
            answer = await call
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                self._answered = True
            else:
                self._away = error
                self._missing(f"{service}: {describe_rpc_error(error)}")
            return None
        self._answered = True
        return answer

    def _missing(self, why: str) -> None:
        if why not in self.facts.missing:
            self.facts.missing.append(why)


def _frames() -> str:
    return payload_policies()["tick_frame"].topic("")


def _timestamp(at: datetime | None) -> Timestamp | None:
    if at is None:
        return None
    made = Timestamp()
    made.FromDatetime(at)
    return made
