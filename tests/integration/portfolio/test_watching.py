"""Watches on an account, over a real server: a snapshot or a revision, then every fill; any replica goes on."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Self

import grpc
import pytest
import structlog
from portfolio_service import INFY, Market, Service, stored_in

from alphapanda.mesh.server import MeshServer
from alphapanda.mesh.status import call_failure
from panda.portfolio.v1 import portfolio_pb2 as portfolio
from panda.portfolio.v1.portfolio_pb2_grpc import (
    PortfolioServiceStub,
    add_PortfolioServiceServicer_to_server,
)


class Served:
    """A portfolio service behind a server."""

    def __init__(self, service: Service) -> None:
        self.service = service
        register = partial(add_PortfolioServiceServicer_to_server, service.api)
        self.server = MeshServer("127.0.0.1", 0, [register], structlog.get_logger())

    async def __aenter__(self) -> Self:
        await self.service.start()
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{await self.server.start()}")
        self.stub = PortfolioServiceStub(self.channel)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.service.stop()
        await self.server.stop(2)
        await self.channel.close()

    def watch(self, **wanted):
        request = portfolio.WatchPortfolioRequest(broker=self.service.broker, **wanted)
        return self.stub.WatchPortfolio(request)


@pytest.fixture
async def served(engine, fills, redis):
    """One replica."""
    async with Served(Service(stored_in(engine), fills.broker, Market(), redis)) as served:
        yield served


async def read(watch) -> portfolio.WatchPortfolioResponse:
    message = await asyncio.wait_for(watch.read(), 20)
    assert message is not grpc.aio.EOF
    return message


async def test_a_watch_begins_with_a_snapshot(served, fills) -> None:
    """The account as it is, then each fill with the account as it made it."""
    watch = served.watch()
    first = await read(watch)
    assert (first.revision, first.portfolio.revision, len(first.fills)) == (1, 1, 0)
    await served.service.fill(fills(1, 10, "100"), fills(2, 5, "101"))
    second = await read(watch)
    assert [fill.revision for fill in second.fills] == [2, 3]
    assert (second.revision, second.portfolio.positions[0].quantity) == (3, 15)


async def test_another_replica_goes_on(served, fills, engine, redis) -> None:
    """From a revision on, no fill is left out and none told twice, whichever replica answers and whichever booked."""
    many = [fills(n, 1, "10") for n in range(1, 451)]
    await served.service.fill(*many[:3])
    async with Served(Service(stored_in(engine), fills.broker, Market(), redis)) as other:
        watch = other.watch(after_revision=2)
        told = [await read(watch)]
        await served.service.fill(*many[3:])
        while told[-1].revision < 451:
            told.append(await read(watch))
    assert [fill.revision for message in told for fill in message.fills] == list(range(3, 452))
    assert all(message.portfolio.revision in (0, message.revision) for message in told)
    assert told[-1].portfolio.revision == 451


@pytest.mark.parametrize("after", [2, 99])
async def test_a_revision_that_is_not_there_is_out_of_range(served, after) -> None:
    """A revision of another life of the account is refused by reason and range, and the log stays quiet about it."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await served.watch(after_revision=after).read()
    assert refused.value.code() is grpc.StatusCode.OUT_OF_RANGE
    assert call_failure(refused.value).reason == "REVISION_GONE"


async def test_a_revision_far_behind_is_out_of_range(served, fills, monkeypatch) -> None:
    """Who missed more than is told begins with a snapshot."""
    monkeypatch.setattr("alphapanda.mesh.watches.MOST_BEHIND", 2)
    await served.service.fill(*(fills(n, 1, "10") for n in range(1, 5)))
    assert (await read(served.watch(after_revision=3))).revision == 5
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await served.watch(after_revision=2).read()
    assert refused.value.code() is grpc.StatusCode.OUT_OF_RANGE


async def test_prices_move_a_watch_that_asks_for_them(served, fills) -> None:
    """With a mark interval the account comes again at new prices, under the same revision and without fills."""
    await served.service.fill(fills(1, 10, "100"))
    watch = served.watch(mark_interval_ms=250)
    assert not (await read(watch)).portfolio.HasField("equity")
    served.service.tick(INFY, "101", 5)
    marked = await read(watch)
    assert (marked.revision, marked.portfolio.equity.amount.value, len(marked.fills)) == (2, "1000010.00", 0)


async def test_the_last_message_says_where_to_go_on(served) -> None:
    """A server that stops ends its watches with a message that says so, and the call ends well."""
    watch = served.watch()
    await read(watch)
    await served.service.revisions.stop()
    last = await read(watch)
    assert (last.draining, last.revision) == (True, 1)
    assert await watch.read() is grpc.aio.EOF
    assert await watch.code() is grpc.StatusCode.OK


async def test_a_watch_on_no_account_is_refused(served) -> None:
    """Identity, validation and errors are those of any call."""
    for wanted, code in (
        ({"account": "none"}, grpc.StatusCode.NOT_FOUND),
        ({"mark_interval_ms": 1}, grpc.StatusCode.INVALID_ARGUMENT),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await served.watch(**wanted).read()
        assert refused.value.code() is code
        assert call_failure(refused.value).reason


async def test_a_caller_who_leaves_ends_the_watch(served) -> None:
    """Nobody waits for a watcher that is gone."""
    watch = served.watch()
    await read(watch)
    await watched(served, 1)
    watch.cancel()
    await watched(served, 0)


async def watched(served: Served, watchers: int) -> None:
    """Returns once so many wait for a revision."""
    async with asyncio.timeout(20):
        while served.service.revisions._watchers != watchers:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)
