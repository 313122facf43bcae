"""Builds the rooms' consumers, followers, outbox relays and purges."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from alphapanda.app.clocks import wall_clock
from alphapanda.app.groups import GROUPS
from alphapanda.app.options import consumer_options
from alphapanda.app.resources import ProcessResources
from alphapanda.consuming.consumer import ReliableConsumer
from alphapanda.consuming.delivery import Handler
from alphapanda.consuming.follower import TopicFollower
from alphapanda.consuming.handling import Discard
from alphapanda.consuming.postgres_parking import PostgresParking
from alphapanda.consuming.slow_handlers import TimedHandler
from alphapanda.consuming.traced_handler import TracedHandler
from alphapanda.eventlog.port import Assignment, GroupReader, Start
from alphapanda.resilience.backoff import Backoff
from alphapanda.storage.outbox import Outbox
from alphapanda.storage.purging import Purge, Purging, outbox_purge, requests_purge
from alphapanda.storage.relay import OutboxRelay
from alphapanda.storage.trace_parents import publishing_parent, untraced
from panda.events.v1.events_pb2 import Event

PARKS = frozenset({"risk", "trading", "portfolio"})
"""Services whose schema has the tables of parked keys: those that read money topics."""


def consumer(
    resources: ProcessResources,
    service: str,
    group: str,
    handler: Handler,
    *,
    reader: GroupReader | None = None,
    assignment: Assignment | None = None,
    discard: Discard | None = None,
    records_spans: bool = False,
    notes_decisions: bool = False,
) -> ReliableConsumer:
    """Builds a reliable consumer of the group's topics, of every active broker.

    `records_spans`: the handler records the spans of the records that it handled; `notes_decisions`: it notes what it decided.
    """
    topics = resources.topic_map.topics(*GROUPS[group])
    tracer = resources.tracer(service)
    if tracer.on:
        handler = TracedHandler(
            handler,
            tracer,
            group,
            resources.topic_map,
            successes=not records_spans,
            decides=notes_decisions,
        )
    return ReliableConsumer(
        name=group,
        service=service,
        log=resources.log,
        reader=reader or resources.log.group_reader(group, topics, Start.EARLIEST),
        topic_map=resources.topic_map,
        handler=TimedHandler(
            handler, group, resources.settings.monitoring.slow_handler_seconds, resources.figures
        ),
        dead_letters=resources.dead_letters,
        policy=consumer_options(resources.settings.consumers, group),
        parking=None if service not in PARKS else PostgresParking(resources.engine, service),
        discard=discard,
        assignment=assignment,
    )


def follower(
    resources: ProcessResources,
    service: str,
    name: str,
    payload: str,
    on_event: Callable[[Event], Awaitable[None]],
    start: Start,
) -> TopicFollower:
    """Builds a follower of a payload's topics."""
    return TopicFollower(
        name=name,
        service=service,
        log=resources.log,
        topic_map=resources.topic_map,
        payload=payload,
        on_event=on_event,
        start=start,
        policy=consumer_options(resources.settings.consumers),
    )


def outbox(resources: ProcessResources, service: str) -> Outbox:
    """Builds the outbox of a service's schema."""
    traced = resources.tracer(service).on
    return Outbox(service, resources.topic_map, publishing_parent if traced else untraced)


def relay(resources: ProcessResources, outbox: Outbox) -> OutboxRelay:
    """Builds the relay of a schema's outbox."""
    options = consumer_options(resources.settings.consumers)
    return OutboxRelay(
        engine=resources.engine,
        outbox=outbox,
        log=resources.log,
        batch_size=options.batch_size,
        backoff=Backoff(options.backoff_initial_seconds, options.backoff_max_seconds),
        tracer=resources.tracer(outbox.schema),
    )


def purging(resources: ProcessResources, service: str, *more: Purge) -> Purging:
    """Builds what deletes a service's old rows: its remembered requests, its published events, and `more`."""
    retention = resources.settings.retention
    return Purging(
        service,
        resources.engine,
        [
            requests_purge(service, timedelta(hours=retention.requests_hours)),
            outbox_purge(service, timedelta(hours=retention.outbox_hours)),
            *more,
        ],
        retention.interval_seconds,
        wall_clock,
    )
