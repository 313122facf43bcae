"""What a platform left behind, read from outside: the topics, the paper exchange's journal, the tables.

Nothing here asks the platform; what it says must be true of what it stored.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Container, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import make_url

from alphapanda.consuming.dead_letters import Letter, letter_or_outcome
from alphapanda.contract.topics import DEAD_LETTER_SUFFIX, TopicMap
from alphapanda.domain.broker_order import BrokerOrderStatus
from alphapanda.domain.charges import charges_from_text
from alphapanda.domain.order import OrderStatus, Side
from alphapanda.embedded.directory import DataDirectory
from alphapanda.embedded.layout import Layout
from alphapanda.embedded.postgres import EmbeddedPostgres
from alphapanda.eventlog.decode import CONTENT_TYPE, from_record
from alphapanda.eventlog.port import EventLog, Start, StoredRecord
from alphapanda.eventlog.sqlite.log import SqliteEventLog
from panda.events.v1.events_pb2 import Event

Row = dict[str, Any]
PAISA = Decimal("0.01")
TABLES = {
    "orders": "SELECT * FROM trading.orders ORDER BY seq",
    "intents": "SELECT i.*, o.broker, o.account, o.signal_id FROM trading.intents i JOIN trading.orders o USING (order_id)",
    "trading_fills": "SELECT * FROM trading.fills",
    "trading_positions": "SELECT * FROM trading.positions WHERE quantity <> 0",
    "tombstones": "SELECT * FROM trading.tombstones",
    "calls": "SELECT * FROM paper_exchange.calls",
    "exchange_orders": "SELECT * FROM paper_exchange.orders",
    "trades": "SELECT t.*, o.broker, o.account, o.tag, o.side FROM paper_exchange.trades t"
    " JOIN paper_exchange.orders o USING (broker_order_id)",
    "verdicts": "SELECT * FROM risk.verdicts",
    "risk_positions": "SELECT * FROM risk.positions WHERE quantity <> 0",
    "waiting": "SELECT * FROM risk.positions WHERE waiting_signal_id IS NOT NULL",
    "reservations": "SELECT * FROM risk.positions WHERE open_signal_id IS NOT NULL",
    "accounts": "SELECT * FROM portfolio.accounts",
    "funds": "SELECT *, (SELECT coalesce(sum(p.margin), 0) FROM risk.positions p WHERE p.broker = a.broker"
    " AND p.account = a.account) AS margins, (SELECT coalesce(sum(p.blocked), 0) FROM risk.positions p"
    " WHERE p.broker = a.broker AND p.account = a.account) AS blocks, (SELECT coalesce(sum(p.cost), 0) FROM risk.positions p"
    " WHERE p.broker = a.broker AND p.account = a.account) AS costs FROM risk.accounts a",
    "fills": "SELECT * FROM portfolio.fills ORDER BY revision",
    "positions": "SELECT * FROM portfolio.positions WHERE quantity <> 0",
    "activations": "SELECT a.*, r.state, r.strategy_type, r.parameters, r.instruments, r.quantity FROM strategy.activations a"
    " JOIN strategy.revisions r USING (strategy_id, revision) ORDER BY strategy_id, partition, revision",
    "transactions": "SELECT * FROM portfolio.ledger_transactions",
    "entries": "SELECT e.*, t.fill_id FROM portfolio.ledger_entries e JOIN portfolio.ledger_transactions t"
    " USING (transaction_id)",
}
CASH = 1
"""LEDGER_ACCOUNT_CASH."""
Key = tuple[str, str, str, str, int]
Place = tuple[str, int, int]
"""Topic, partition, offset."""


@dataclass
class Read:
    """What was found of records before: a log only grows, so who proves it again need not decode and check them again.

    Attributes:
        events: of each record, by its place, with the record that it was decoded from.
        whole: those whose envelope was checked.
    """

    events: dict[Place, tuple[StoredRecord, Event]] = field(default_factory=dict)
    whole: set[Place] = field(default_factory=set)

    def event(self, record: StoredRecord, topic_map: TopicMap) -> Event:
        """The record's event; raises where it isn't one."""
        place = record.topic, record.partition, record.offset
        before, event = self.events.get(place, (None, None))
        if event is None or before != record:
            event = from_record(record, topic_map)
            self.events[place] = record, event
            self.whole.discard(place)
        return event


@dataclass
class Evidence:
    """Everything a platform left: embedded in a data directory, or as a mesh in Kafka and PostgreSQL."""

    topic_map: TopicMap
    records: list[StoredRecord] = field(default_factory=list)
    events: dict[str, Event] = field(default_factory=dict)
    """By event_id; a record that came twice is one event."""
    dead_letters: list[StoredRecord] = field(default_factory=list)
    malformed: Container[Place] = ()
    """Where a test put records that nobody can read: they and their letters are kept apart from all others."""
    letters: list[Letter] = field(default_factory=list)
    """Of the malformed records."""
    tables: dict[str, list[Row]] = field(default_factory=dict)
    unpublished: int = 0
    read: Read = field(default_factory=Read)

    def of(self, *payloads: str) -> list[Event]:
        """The events with one of these payloads."""
        return [event for event in self.events.values() if event.WhichOneof("payload") in payloads]

    def rows(self, table: str) -> list[Row]:
        """The rows of one of TABLES."""
        return self.tables[table]


def read_evidence(
    data_dir: Path,
    brokers: Sequence[str] = ("paper", "zerodha"),
    *,
    live: Sequence[str] = (),
    leave_servers: bool = False,
) -> Evidence:
    """Everything in a data directory that no process uses; its PostgreSQL is stopped again unless it is to be left."""
    directory = DataDirectory(data_dir)
    directory.acquire(datetime.now(tz=UTC))
    evidence = Evidence(TopicMap(brokers, live))
    try:
        asyncio.run(_read(evidence, directory.layout, leave_servers))
    finally:
        directory.release()
    return evidence


async def _read(evidence: Evidence, layout: Layout, leave_servers: bool) -> None:
    postgres = EmbeddedPostgres(layout.root)
    log = SqliteEventLog(layout.event_log / "events.sqlite")
    try:
        url = await postgres.start()
        await log.start()
        await gather_evidence(evidence, url, log)
    finally:
        await log.stop()
        if not leave_servers:
            await postgres.stop()


async def gather_evidence(evidence: Evidence, database_url: str, log: EventLog) -> None:
    """Reads every table of TABLES and every topic of a started log.

    Args:
        evidence: is filled.
        database_url: SQLAlchemy's, `postgresql+asyncpg://…`.
        log: SQLite's or Kafka's.
    """
    await _read_tables(evidence, database_url)
    await _read_topics(evidence, log)


async def _read_tables(evidence: Evidence, database_url: str) -> None:
    url = make_url(database_url).set(drivername="postgresql")
    connection = await asyncpg.connect(url.render_as_string(hide_password=False))
    try:
        for name, query in TABLES.items():
            evidence.tables[name] = [dict(row) for row in await connection.fetch(query)]
        for schema in ("strategy", "risk", "trading", "portfolio"):
            evidence.unpublished += await connection.fetchval(
                f"SELECT count(*) FROM {schema}.outbox WHERE published_at IS NULL"
            )
    finally:
        await connection.close()


async def _read_topics(evidence: Evidence, log: EventLog) -> None:
    ends = await log.end_offsets(list(await log.topics()))
    reader = log.topic_reader(sorted({at.topic for at, end in ends.items() if end}), Start.EARLIEST)
    await reader.start()
    try:
        while any(end and reader.position(at) < end for at, end in ends.items()):
            for record in await reader.fetch(5_000, 1.0):
                _take(evidence, record)
    finally:
        await reader.stop()


def _take(evidence: Evidence, record: StoredRecord) -> None:
    if record.topic.endswith(DEAD_LETTER_SUFFIX):
        letter = letter_or_outcome(record)
        if isinstance(letter, Letter) and letter.letter_id[1:] in evidence.malformed:
            evidence.letters.append(letter)
        else:
            evidence.dead_letters.append(record)
        return
    if (record.topic, record.partition, record.offset) in evidence.malformed:
        return
    evidence.records.append(record)
    event = evidence.read.event(record, evidence.topic_map)
    known = evidence.events.setdefault(event.event_id, event)
    assert known is event or _said(known) == _said(event), f"two events have the id {event.event_id}"


def _said(event: Event) -> bytes:
    """What an event says, without the wall time of its making."""
    said = Event.FromString(event.SerializeToString())
    said.ClearField("occurred_at")
    return said.SerializeToString(deterministic=True)


# -- what has to be true ----------------------------------------------------------------------------------------------


def check_books(evidence: Evidence) -> None:
    """Orders = the exchange's journal = fills = ledger, of a platform at rest, to the paisa."""
    assert evidence.dead_letters == [], [(letter.topic, letter.headers) for letter in evidence.dead_letters]
    assert evidence.unpublished == 0
    assert evidence.rows("waiting") == []
    assert evidence.rows("reservations") == []
    _check_verdicts(evidence)
    _check_orders(evidence)
    _check_journal(evidence)
    _check_fills(evidence)
    _check_ledger(evidence)
    _check_positions(evidence)
    _check_funds(evidence)


def _check_verdicts(evidence: Evidence) -> None:
    """One raw signal, one verdict: as a row, and as an event; a person's order has one too, without a raw signal."""
    told: Counter[str] = Counter()
    for event in evidence.of("signal_validated", "signal_rejected"):
        verdict = getattr(event, event.WhichOneof("payload") or "")
        told[verdict.signal_id] += 1
    raw = {event.event_id for event in evidence.of("trading_signal")}
    rows = {str(row["signal_id"]): row for row in evidence.rows("verdicts")}
    manual = {signal_id for signal_id, row in rows.items() if row["strategy_id"] == "manual"}
    assert set(told.values()) <= {1}
    assert told.keys() == rows.keys()
    assert rows.keys() - (manual - raw) == raw  # a square-off of a person's position is a raw signal, too
    approved = {event.signal_validated.signal_id for event in evidence.of("signal_validated")}
    assert approved == {signal_id for signal_id, row in rows.items() if row["approved"]}


def _check_orders(evidence: Evidence) -> None:
    """One validated signal, one order or tombstone; one order, one terminal event, and the row says the same."""
    validated = [event.signal_validated.signal_id for event in evidence.of("signal_validated")]
    orders = evidence.rows("orders")
    of_strategies = [str(row["signal_id"]) for row in orders if row["strategy_id"] != "manual"]
    assert set(of_strategies) <= set(validated)
    ordered = {str(row["signal_id"]) for row in orders}
    buried = {str(row["signal_id"]) for row in evidence.rows("tombstones")}
    assert set(validated) <= ordered | buried
    assert not ordered & buried
    assert len({row["signal_id"] for row in orders}) == len(orders)

    terminal: defaultdict[str, list[Any]] = defaultdict(list)
    revisions: defaultdict[str, list[int]] = defaultdict(list)
    for event in evidence.of("order_submitted", "order_filled", "order_failed", "order_cancelled"):
        state = getattr(event, event.WhichOneof("payload") or "").order
        revisions[state.order_id].append(state.order_revision)
        if OrderStatus(state.status).is_final:
            assert state.leaves_quantity == 0
            terminal[state.order_id].append(state)
    for order in orders:
        order_id = str(order["order_id"])
        assert OrderStatus(order["status"]).is_final, order
        (state,) = terminal.pop(order_id)
        assert (state.status, state.filled_quantity) == (order["status"], order["filled"])
        assert sorted(revisions.pop(order_id)) == list(range(1, order["revision"] + 1))
        if order["status"] == OrderStatus.FILLED:
            assert order["filled"] == order["quantity"]
    assert not terminal
    assert not revisions


def _check_journal(evidence: Evidence) -> None:
    """An intent was placed once at most; the exchange holds no order but the intents', of their quantity."""
    places = Counter(row["tag"] for row in evidence.rows("calls") if row["what"] == "place")
    assert set(places.values()) <= {1}
    intents = {row["tag"]: row for row in evidence.rows("intents")}
    at_exchange = {row["tag"]: row for row in evidence.rows("exchange_orders")}
    assert len(at_exchange) == len(evidence.rows("exchange_orders"))
    assert places.keys() == at_exchange.keys()
    assert at_exchange.keys() <= intents.keys()
    for tag, row in at_exchange.items():
        intent = intents[tag]
        assert (row["broker"], row["account"], row["quantity"]) == (
            intent["broker"],
            intent["account"],
            intent["quantity"],
        )
        assert str(row["broker_order_id"]) == intent["broker_order_id"]
        assert (row["status"] == BrokerOrderStatus.COMPLETE.value) == (intent["status"] == OrderStatus.FILLED)
    for tag in intents.keys() - at_exchange.keys():
        assert intents[tag]["filled"] == 0


def _check_fills(evidence: Evidence) -> None:
    """The exchange's trades, trading's fills, the events and portfolio's fills are the same fills."""

    def trade(row: Row) -> tuple[Any, ...]:
        return (str(row["fill_id"]), row["quantity"], row["price"], row["commission"], row["traded_at"])

    trades = sorted(map(trade, evidence.rows("trades")))
    assert sorted(map(trade, evidence.rows("trading_fills"))) == trades
    assert sorted(map(trade, evidence.rows("fills"))) == trades
    told = sorted(
        (
            event.order_filled.fill_id,
            event.order_filled.quantity,
            Decimal(event.order_filled.price.value),
            Decimal(event.order_filled.commission.amount.value),
            event.order_filled.traded_at.ToDatetime(UTC),
        )
        for event in evidence.of("order_filled")
    )
    assert told == trades
    filled: Counter[str] = Counter()
    for row in evidence.rows("trading_fills"):
        filled[str(row["order_id"])] += row["quantity"]
    assert filled == {str(row["order_id"]): row["filled"] for row in evidence.rows("orders") if row["filled"]}


def _check_ledger(evidence: Evidence) -> None:
    """A fill is booked once, in balance; cash is the starting cash less what the exchange's trades cost.

    What a day's charges are beyond the exchange's commissions (rounded as on a contract note) is booked, too: each fill
    says how much, line by line.
    """
    booked = [row["fill_id"] for row in evidence.rows("transactions") if row["fill_id"] is not None]
    assert sorted(map(str, booked)) == sorted(str(row["fill_id"]) for row in evidence.rows("trades"))
    balance: Counter[str] = Counter()
    cash: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for row in evidence.rows("entries"):
        balance[str(row["transaction_id"])] += row["amount"]
        if row["ledger_account"] == CASH:
            cash[row["broker"], row["account"]] += row["amount"]
    assert set(balance.values()) <= {0}
    for account in evidence.rows("accounts"):
        whose = account["broker"], account["account"]
        cost = sum(
            (
                (1 if row["side"] == Side.BUY else -1) * row["quantity"] * row["price"] + row["commission"]
                for row in evidence.rows("trades")
                if (row["broker"], row["account"]) == whose
            ),
            Decimal(),
        )
        booked_more = [row for row in evidence.rows("fills") if (row["broker"], row["account"]) == whose]
        more = sum((row["day_charges"] for row in booked_more), Decimal())
        assert account["day_charges"] == more
        for row in booked_more:
            lines = charges_from_text(row["charges"])
            assert not lines or lines.total == row["commission"] + row["day_charges"]
        assert account["cash"] == account["starting_cash"] - cost - more == cash[whose]
        assert account["cash"] == account["cash"].quantize(PAISA)


def _check_positions(evidence: Evidence) -> None:
    """Risk, trading and portfolio hold what the fills add up to."""
    held: Counter[Key] = Counter()
    for row in evidence.rows("fills"):
        held[_key(row)] += row["quantity"] * (1 if row["side"] == Side.BUY else -1)
    expected = {key: quantity for key, quantity in held.items() if quantity}
    for table in ("positions", "risk_positions", "trading_positions"):
        assert {_key(row): row["quantity"] for row in evidence.rows(table)} == expected, table


def _check_funds(evidence: Evidence) -> None:
    """Risk's funds less the cost of what is held are the ledger's cash, and block what positions and open orders do.

    Risk may take another share of a flip's profit for realised than the ledger (an order's end that came before its
    fills has their average only), and as much more or less for the cost of what is held.
    """
    books = {(row["broker"], row["account"]): row for row in evidence.rows("accounts")}
    for row in evidence.rows("funds"):
        whose = row["broker"], row["account"]
        assert (row["margin"], row["blocked"]) == (row["margins"], row["blocks"])
        if row["starting_cash"] is None or whose not in books:
            continue
        cash, starting_cash = books[whose]["cash"], books[whose]["starting_cash"]
        assert row["starting_cash"] == starting_cash
        # Risk counts the charges that fills carry, without what the day's contract note makes of them.
        assert row["realised"] - row["costs"] == cash + books[whose]["day_charges"] - starting_cash


def _key(row: Row) -> Key:
    return row["broker"], row["account"], row["strategy_id"], row["instrument_id"], row["product"]


def check_envelopes(evidence: Evidence) -> None:
    """Each record stands where the contract says, and its headers say what its envelope says."""
    for record in evidence.records:
        event = evidence.read.event(record, evidence.topic_map)
        place = record.topic, record.partition, record.offset
        if place in evidence.read.whole:
            continue
        route = evidence.topic_map.route(event)
        assert (record.topic, record.partition, record.key) == (route.topic, route.partition, route.key)
        assert event.broker == evidence.topic_map.broker(record.topic)
        headers = dict(record.headers)
        payload = getattr(event, event.WhichOneof("payload") or "")
        assert headers["ce_id"] == event.event_id.encode()
        assert headers["ce_type"] == payload.DESCRIPTOR.full_name.encode()
        assert headers["ce_source"] == event.source.encode()
        assert datetime.fromisoformat(headers["ce_time"].decode()) == event.occurred_at.ToDatetime(UTC)
        assert headers["content-type"] == CONTENT_TYPE
        evidence.read.whole.add(place)


def check_chains(evidence: Evidence) -> None:
    """Causes lead back to a frame, or for a person's order to its signal, under one correlation id all the way."""
    for event in evidence.events.values():
        if event.WhichOneof("payload") in {"strategy_changed", "kill_switch_changed"}:
            assert event.causation_id, "a command caused it"
            continue
        root = chain(evidence, event)[-1]
        if root.WhichOneof("payload") == "tick_frame":
            continue
        verdict = getattr(root, root.WhichOneof("payload") or "")
        assert root.WhichOneof("payload") in {"signal_validated", "signal_rejected"}, root
        assert verdict.strategy_id == "manual", root
        assert root.causation_id == verdict.signal_id


def chain(evidence: Evidence, event: Event) -> list[Event]:
    """An event and what caused it, as far back as the log knows; of one correlation id."""
    links = [event]
    with suppress(KeyError):
        while links[-1].causation_id:
            cause = evidence.events[links[-1].causation_id]
            assert cause.correlation_id == event.correlation_id, (event, cause)
            links.append(cause)
    return links
