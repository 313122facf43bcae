"""The contract says it (rule 10): every event has its topic, every RPC its policy."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor

import panda
from alphapanda.app.topics import topics_of
from alphapanda.contract.topics import TopicMap, payload_policies
from alphapanda.settings.sources import load_settings
from alphapanda.trading.traders.brokers import BROKERS
from alphapanda.trading.traders.registry import BrokerRegistry
from panda.events.v1.events_pb2 import Event
from panda.options.v1 import options_pb2 as options

PAYLOADS = tuple(Event.DESCRIPTOR.oneofs_by_name["payload"].fields)
# What makes a repeated command the same one: a request_id, or the id or revision of what it is about.
OWN_IDENTITIES = {"request_id", "intent_id", "signal_id", "revision", "session_id", "subject_id"}


def methods() -> Iterator[MethodDescriptor]:
    """Every RPC of every service in the generated code."""
    for module in pkgutil.walk_packages(panda.__path__, "panda."):
        if module.name.endswith("_pb2"):
            file = importlib.import_module(module.name).DESCRIPTOR
            for service in file.services_by_name.values():
                yield from service.methods


METHODS = tuple(methods())


@pytest.mark.parametrize("field", PAYLOADS, ids=lambda field: field.name)
def test_every_payload_has_a_whole_topic_policy(field: FieldDescriptor) -> None:
    """Name, key, retention, partitions and partitioning are set on every member of the payload."""
    assert field.GetOptions().HasExtension(options.topic)
    policy = field.GetOptions().Extensions[options.topic]
    assert policy.name
    assert policy.name.startswith("{broker}.") or "{" not in policy.name
    assert policy.key
    assert policy.retention != options.RETENTION_UNSPECIFIED
    assert policy.partitioning != options.PARTITIONING_UNSPECIFIED
    assert 1 <= policy.partitions <= 64


@pytest.mark.parametrize("field", PAYLOADS, ids=lambda field: field.name)
def test_every_key_and_partition_follows_from_the_payload(field: FieldDescriptor) -> None:
    """The key's template and the partitioning name fields that the payload has."""
    broker = "paper" if payload_policies()[field.name].per_broker else ""
    event = Event(broker=broker)
    getattr(event, field.name).SetInParent()
    for live in ((), ("paper",)):
        topic_map = TopicMap(("paper",), live)
        route = topic_map.route(event)
        assert route.topic == topic_map.topic(field.name, broker)
        assert 0 <= route.partition < payload_policies()[field.name].partitions


def test_every_topic_appears_once() -> None:
    """No two payloads share a topic, so a topic says what is on it; dead-letter topics don't collide either."""
    names = [policy.name for policy in payload_policies().values()]
    assert len(set(names)) == len(names) == len(PAYLOADS)
    specs = [spec.name for spec in TopicMap(("paper", "zerodha")).specs()]
    assert len(set(specs)) == len(specs)
    shared = [name for name in names if "{" not in name]
    assert len(specs) == 2 * (2 * (len(names) - len(shared)) + len(shared))


def test_what_moves_money_is_marked() -> None:
    """Signals, orders and control are never skipped; prices and refusals are not money."""
    money = {name for name, policy in payload_policies().items() if policy.money}
    assert money == {
        "trading_signal",
        "signal_validated",
        "order_submitted",
        "order_filled",
        "order_failed",
        "order_cancelled",
        "strategy_changed",
        "kill_switch_changed",
    }


def test_control_topics_alone_are_compacted() -> None:
    """What is read whole at every start keeps the newest of each key, for ever."""
    compacted = {spec.name for spec in TopicMap(("paper",)).specs() if spec.compacted}
    control = {policy.name for name, policy in payload_policies().items() if name.endswith("_changed")}
    assert compacted == control
    assert all(spec.retention_hours is None for spec in TopicMap(("paper",)).specs() if spec.compacted)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
def test_every_rpc_has_a_whole_policy(method: MethodDescriptor) -> None:
    """Permission, retry and default deadline are set on every method of every service."""
    assert method.GetOptions().HasExtension(options.method)
    policy = method.GetOptions().Extensions[options.method]
    assert policy.permission != options.PERMISSION_UNSPECIFIED
    assert policy.retry != options.RETRY_UNSPECIFIED
    assert 1 <= policy.default_deadline_ms <= 60_000


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
def test_a_command_carries_its_request_id(method: MethodDescriptor) -> None:
    """A call that may be sent again by its request_id has one, or an identity of its own; a query has none."""
    policy = method.GetOptions().Extensions[options.method]
    fields = method.input_type.fields_by_name
    if policy.retry == options.RETRY_SAFE:
        assert "request_id" not in fields
    else:
        assert OWN_IDENTITIES & set(fields)


def test_the_services_are_seen() -> None:
    """An empty search would pass every test above."""
    assert {method.containing_service.name for method in METHODS} >= {
        "InstrumentService",
        "MarketDataService",
        "StrategyService",
        "RiskService",
        "TradingService",
        "PortfolioService",
        "OpsService",
    }


def test_topics_are_kept_by_default_as_the_settings_say() -> None:
    """A map made without settings keeps records as long as one of the settings' defaults."""
    settings = load_settings({})
    of_settings = topics_of(settings, BrokerRegistry(BROKERS))
    assert of_settings.specs() == TopicMap(settings.active_brokers).specs()
