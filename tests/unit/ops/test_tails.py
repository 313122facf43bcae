"""Tails of topics: each has a reader of its own, so there are so many and no more."""

from __future__ import annotations

import asyncio

import pytest

from alphapanda.contract.topics import TopicMap
from alphapanda.eventlog.sqlite.log import SqliteEventLog
from alphapanda.mesh.errors import TooMany
from alphapanda.ops.log_api import MOST_TAILS, LogApi
from panda.ops.v1.ops_pb2 import TailTopicRequest

TOPICS = TopicMap(("paper",))
QUIET = TailTopicRequest(topic=TOPICS.topic("order_cancelled", "paper"))


async def test_tails_without_end_are_refused_until_one_has_left() -> None:
    """As many as may be stay open; the next is refused, and gets in once another caller has left."""
    log = SqliteEventLog(":memory:")
    await log.start()
    await log.ensure(TOPICS.specs())
    api = LogApi(log, TOPICS, {})
    waiting = [asyncio.ensure_future(anext(api.tail(QUIET))) for _ in range(MOST_TAILS)]
    await asyncio.sleep(0)
    with pytest.raises(TooMany, match=f"{MOST_TAILS} tails of topics are open"):
        await anext(api.tail(QUIET))
    waiting.pop().cancel()
    await asyncio.sleep(0)
    waiting.append(asyncio.ensure_future(anext(api.tail(QUIET))))
    done, _ = await asyncio.wait(waiting, timeout=0.05)
    assert not done
    for tail in waiting:
        tail.cancel()
    await asyncio.wait(waiting)
    await log.stop()
