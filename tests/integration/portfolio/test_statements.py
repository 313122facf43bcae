"""How many statements a fill costs, counted where they are sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from portfolio_service import INFY, Market, Service, stored_in
from redis.asyncio import Redis
from sqlalchemy import text
from tests.statements import CountedRelay, Quiet, Sent, quiet

from alphapanda.contract.topics import TopicMap
from alphapanda.domain.order import Product
from alphapanda.eventlog.port import Record
from alphapanda.portfolio.store.port import AccountName
from alphapanda.resilience.backoff import Backoff
from alphapanda.storage.engine import open_engine
from alphapanda.storage.outbox import Outbox

MOST = 8
"""From a fill to its ledger entries, its snapshot on the log included."""


@dataclass
class Log:
    """A log that remembers how many records it took."""

    records: int = 0

    async def publish(self, records: Sequence[Record]) -> Sequence[int]:
        self.records += len(records)
        return range(self.records - len(records), self.records)


@dataclass
class Counted:
    """A service and its relay on a database whose statements are counted."""

    service: Service
    relay: CountedRelay
    quiet: Quiet
    sent: Sent

    async def cost(self, *batch: Any) -> list[str]:
        """The statements from a batch of fills to their snapshot on the log."""
        await self.quiet.before(self.relay)
        self.sent.statements.clear()
        published = self.relay.published
        await self.service.fill(*batch)
        await self.service.snapshots.take_after_fills()
        await self.quiet.after(self.relay)
        assert self.relay.published == published + 1
        return list(self.sent.statements)


@pytest.fixture
async def counted(tables: str, fills, redis: Redis) -> AsyncIterator[Counted]:
    """In steady state: started, with a market, an open position and prepared connections."""
    sent = Sent()
    engine = open_engine(tables, pool_size=4)
    sent.listen(engine)
    service = Service(stored_in(engine), fills.broker, Market(), redis)
    outbox = Outbox("portfolio", TopicMap(("paper", "other")))
    relay = CountedRelay(
        engine=engine,
        outbox=outbox,
        log=Log(),
        batch_size=100,
        backoff=Backoff(0.1, 1.0),
        poll_seconds=3600,
        silence_seconds=3600,
    )
    await service.start()
    await relay.start()
    async with quiet(tables) as waits:
        counted = Counted(service, relay, waits, sent)
        await service.frame(INFY, "100", 0)
        await counted.cost(fills(1, 10, "100"))
        yield counted
    await relay.stop()
    await service.stop()
    await engine.dispose()


async def test_a_fill_costs_eight_statements_at_most(counted: Counted, fills) -> None:
    """One fill: BEGIN, a read, a write and COMMIT; two for its snapshot; two for the relay that publishes it."""
    statements = await counted.cost(fills(2, -4, "101", "1"))
    assert len(statements) <= MOST, "\n".join(statements)
    assert [one.split(maxsplit=1)[0] for one in statements].count("COMMIT;") == 1


async def test_charges_by_line_cost_no_statement(counted: Counted, fills) -> None:
    """Fills with charge lines, which follow from the day's earlier ones, cost what others do."""
    first = [
        fills(n, units, "100", product=Product.CNC, charged=True)
        for n, units in ((20, 10), (21, -4), (22, -8))
    ]
    assert len(await counted.cost(*first)) <= MOST
    assert len(await counted.cost(fills(23, 5, "101", product=Product.CNC, charged=True))) <= MOST
    assert await counted.service.store.disagreements(AccountName(fills.broker, "default")) == []


async def test_a_batch_costs_what_a_fill_costs(counted: Counted, fills) -> None:
    """Fifty fills of several strategies and instruments cost the statements of one."""
    one = await counted.cost(fills(2, -4, "101", "1"))
    batch = [
        fills(n, 3 - n % 7 or 1, "99.5", "1", strategy=f"s{n % 5}", instrument=f"NSE:I{n % 3}")
        for n in range(3, 53)
    ]
    assert len(await counted.cost(*batch)) == len(one)
    assert await counted.service.store.disagreements(AccountName(fills.broker, "default")) == []


async def test_a_batch_seen_before_costs_a_read(counted: Counted, fills) -> None:
    """What was booked before is found by the read; nothing is written."""
    batch = [fills(n, 1, "100") for n in range(2, 12)]
    await counted.cost(*batch)
    await counted.quiet.before(counted.relay)
    counted.sent.statements.clear()
    await counted.service.fill(*batch)
    await asyncio.sleep(0)
    assert len(counted.sent.statements) == 3
    assert not any("INSERT" in one for one in counted.sent.statements)


async def test_a_snapshot_reads_open_positions_alone(counted: Counted, fills) -> None:
    """A flat position is in the totals of its strategy and is not read again."""
    await counted.service.fill(
        *(fills(n, 1 if n % 2 else -1, "100", "1", instrument=f"NSE:I{n // 2}") for n in range(2, 22))
    )
    books = await counted.service.store.books(AccountName(fills.broker, "default"))
    assert [position.key.instrument_id for position in books.positions] == ["NSE:INFY"]
    assert [(one.strategy_id, one.charges) for one in books.strategies] == [("ema", 20)]


async def test_a_proof_waits_for_nobody(counted: Counted, tables: str, fills) -> None:
    """Books are proved while another transaction holds the account, and nobody waits for the proof."""
    name = AccountName(fills.broker, "default")
    other = open_engine(tables, pool_size=1)
    async with other.begin() as connection:
        await connection.execute(text("SELECT FROM portfolio.accounts FOR UPDATE"))
        counted.sent.statements.clear()
        async with asyncio.timeout(10):
            assert await counted.service.store.disagreements(name) == []
    await other.dispose()
    assert not any("FOR UPDATE" in one for one in counted.sent.statements)


async def test_a_fill_between_a_snapshots_read_and_write_is_in_it(
    counted: Counted, fills, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot that was overtaken by a fill is made again, of the revision after it, and stored once."""
    store, name = counted.service.store, AccountName(fills.broker, "default")
    read, late = store.books, [fills(3, 5, "100")]

    async def overtaken(name: AccountName) -> Any:
        books = await read(name)
        if late:
            await counted.service.fill(late.pop())
        return books

    monkeypatch.setattr(store, "books", overtaken)
    await counted.service.fill(fills(2, 1, "100"))
    await counted.service.snapshots.take_after_fills()
    found = await store.snapshots(name, start=None, end=None, after=None, limit=100)
    at = [one.snapshot.revision for one in found if one.snapshot.cause.name == "FILLS"]
    assert at == [2, 4]
