"""What each service opens is what `app/edges.py` says: network policies and Kafka's rights are made of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from alphapanda.app import edges, serve
from alphapanda.app.edges import CALLS, DIRECT, FOLLOWED, edges_of
from alphapanda.app.log_agreement import OUTBOXES
from alphapanda.app.security import SERVICES
from alphapanda.contract.topics import TopicMap

FOLDER = Path(edges.__file__).parents[1]
TOPICS = TopicMap(("paper", "zerodha"), ("zerodha",))
MAKERS = {
    "frame_event": {"tick_frame"},
    "signal_event": {"trading_signal"},
    "verdict_event": {"signal_validated", "signal_rejected"},
    "order_event": {"order_submitted", "order_filled", "order_failed", "order_cancelled"},
    "changed_event": {"strategy_changed"},
}
"""The contract's functions that make events, and of which payloads."""

KEPT = {("strategy", "tick_frame"), ("risk", "trading_signal")}
"""Also stored as bytes in a service's own rows: frames of foreign strategies, and signals that wait in risk."""


@lru_cache(maxsize=1000)
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _modules(service: str) -> Iterator[ast.Module]:
    for path in sorted((FOLDER / service).rglob("*.py")):
        yield _tree(path)


def _calls_of(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called == name:
                yield node


def _channels(path: Path) -> set[str]:
    """The services that a file of `app` opens channels to."""
    found = set()
    for call in _calls_of(_tree(path), "channel"):
        if ast.unparse(call.func) != "resources.channel":
            continue
        (service, *_) = call.args
        if ast.unparse(service) == "AUTH":
            service = ast.Constant("auth")
        assert isinstance(service, ast.Constant), f"{path.name}: a channel to a computed service"
        found.add(str(service.value))
    return found


def _followed(path: Path) -> Iterator[str]:
    for call in _calls_of(_tree(path), "follower"):
        payload = call.args[3]
        yield payload.value if isinstance(payload, ast.Constant) else ast.unparse(payload)


@pytest.mark.parametrize("service", [name for name in SERVICES if name not in {"ops", "marketdata"}])
def test_a_service_calls_whom_its_room_opens_a_channel_to(service: str) -> None:
    """And beside them those that every process asks: instruments and auth."""
    assert _channels(FOLDER / "app/rooms" / f"{service}.py") == set(CALLS.get(service, ()))


def test_nothing_else_of_a_process_opens_a_channel() -> None:
    """But for the questions to auth (token_watch) and instruments (serve), and ops, which asks everybody; `doctor` is a person's."""
    rooms = {FOLDER / "app/rooms" / f"{name}.py" for name in SERVICES}
    others = {
        path.name: found
        for path in (FOLDER / "app").rglob("*.py")
        if path not in rooms and (found := _channels(path))
    }
    assert others == {
        "token_watch.py": {"auth"},
        "embedded.py": {"strategy"},  # `up`, to itself
        "day_cycle.py": {
            "risk",
            "portfolio",
            "instruments",
            "auth",
            "trading",
        },  # ops, where a live broker is enabled
        "kite_parts.py": {"auth"},
        "kite_feed.py": {*CALLS["marketdata"]},  # the feed of marketdata
    }
    assert {*edges.ASKED_BY_ALL} == {"instruments", "auth"}
    assert set(CALLS["ops"]) == set(serve.SERVICES) - {"ops"}
    opened = [
        path.relative_to(FOLDER).as_posix()
        for path in (FOLDER / "app").rglob("*.py")
        if any(_calls_of(_tree(path), "open_channel"))
    ]
    assert sorted(opened) == [
        "app/doctor_kite.py",
        "app/doctor_mesh.py",
        "app/doctor_running.py",
        "app/resources.py",
        "app/serve.py",
    ]


def test_followers_read_what_is_written_down() -> None:
    """By the payload in each call of `follower`."""
    in_code = {
        service: set(_followed(FOLDER / "app/rooms" / f"{service}.py"))
        for service in ("strategy", "risk", "trading", "portfolio")
    } | {
        "marketdata": {
            *_followed(FOLDER / "app/feeding.py"),
            *_followed(FOLDER / "app/kite_feed.py"),
        }
    }
    names = {
        "PAYLOAD": "strategy_changed",
        "STRATEGIES": "strategy_changed",
        "OPT_IN_PAYLOAD": "strategy_changed",
        "strategy_statuses_topic.PAYLOAD": "strategy_changed",
    }
    assert {
        service: {names.get(payload, payload) for payload in found} for service, found in in_code.items()
    } == {
        service: {payload for payload in payloads if not payload.startswith("order_")}
        for service, payloads in FOLLOWED.items()
    }
    readers = [
        service for service in SERVICES if any("OrderTail" in ast.unparse(tree) for tree in _modules(service))
    ]
    assert readers == [name for name, payloads in FOLLOWED.items() if "order_filled" in payloads]


@pytest.mark.parametrize("service", [name for name in SERVICES if name != "ops"])
def test_a_service_makes_the_events_that_it_may_write(service: str) -> None:
    """By the contract's functions that make events, as its modules call them."""
    made = set()
    for tree in _modules(service):
        for maker, payloads in MAKERS.items():
            if any(_calls_of(tree, maker)):
                made |= payloads
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Attribute)
                and node.attr == "CopyFrom"
                and isinstance(node.value, ast.Attribute)
            ):
                made |= {node.value.attr} & {"kill_switch_changed", "portfolio_snapshot"}
    written = {*OUTBOXES.get(service, ()), *DIRECT.get(service, ())}
    assert made - written <= {payload for name, payload in KEPT if name == service}
    assert written <= made


def test_what_a_service_opens_of_kafka() -> None:
    """Risk reads signals and order events, writes verdicts, kill switches and the dead letters of what it reads."""
    risk = edges_of("risk", TOPICS)
    assert risk.groups == ("risk.signals", "risk.orders")
    assert "paper.signals.raw" in risk.reads
    assert "paper.orders.filled" not in risk.writes
    assert {"paper.signals.raw.dlq", "zerodha.orders.filled.dlq", "control.killswitch"} <= set(risk.writes)
    assert "control.strategies" in risk.reads
    assert {"paper.signals.validated", "control.killswitch"} <= set(
        risk.reads
    )  # a start compares what it published
    assert edges_of("auth", TOPICS).writes == ()
    assert set(edges_of("ops", TOPICS).reads) == {spec.name for spec in TOPICS.specs()}
