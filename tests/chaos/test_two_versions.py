"""Two versions of the contract at once: producers older and newer than their readers, in one mesh."""

from __future__ import annotations

import pytest
from cluster import Cluster
from dialects import ADDED_LATER, OLDER_EVENT, Dialect, dialect_of, spoken
from scenarios import SYMBOLS, surviving

from panda.events.v1.events_pb2 import Event

pytestmark = pytest.mark.timeout(400)  # processes and real time: a busy machine needs longer

ORDERS = 60
READ_BY_SERVICES = ("trading_signal", "signal_validated", "order_submitted", "order_filled")


def test_the_older_contract_lacks_what_today_s_has():
    """Each of the fields is in today's contract and not in the older one, which has all the others."""
    for payload in Event.DESCRIPTOR.oneofs_by_name["payload"].fields:
        today = payload.message_type
        older = OLDER_EVENT.DESCRIPTOR.fields_by_name[payload.name].message_type
        lacking = set(ADDED_LATER.get(today.full_name, ()))
        assert {*today.fields_by_name} - {*older.fields_by_name} == lacking
        assert lacking < {*today.fields_by_name}
    state = OLDER_EVENT.DESCRIPTOR.file.pool.FindMessageTypeByName("panda.events.v1.OrderState")
    assert not {*ADDED_LATER[state.full_name]} & {*state.fields_by_name}


def test_older_and_newer_producers_trade_together(cluster: Cluster):
    """Of each kind of event a third is written as by an older and a third as by a newer one: all is filled and booked."""
    before = {(record.topic, record.partition, record.offset) for record in cluster.evidence().records}
    with surviving(cluster, "three versions of the contract at once"), cluster.dialects():
        first = cluster.count("trading.orders")
        cluster.trade(f"versions.{first}", cycle=1, every=2, symbols=SYMBOLS, quantity=10)
        cluster.wait_for_orders(first + ORDERS)
        cluster.come_to_rest()
    evidence = cluster.evidence()
    seen: dict[str, set[Dialect]] = {}
    for record in evidence.records:
        if (record.topic, record.partition, record.offset) not in before:
            event = Event.FromString(record.value)
            if spoken(record) is dialect_of(event.event_id):
                seen.setdefault(event.WhichOneof("payload") or "", set()).add(spoken(record))
    for payload in READ_BY_SERVICES:
        assert seen[payload] == {*Dialect}, payload
