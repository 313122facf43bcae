"""`alphapanda trace` against a platform that trades: any id of an order gives its whole story."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime

NOBODYS = "6f1d2c3b-0000-5000-8000-000000000001"


def kinds(step: dict) -> list[str]:
    """The kinds of a step and of all below it, in order."""
    return [step["kind"], *(kind for one in step["steps"] for kind in kinds(one))]


def found(step: dict, kind: str) -> dict:
    """The first step of a kind."""
    if step["kind"] == kind:
        return step
    return next(one for one in (found(each, kind) for each in step["steps"]) if one) if step["steps"] else {}


def strategys_order(asked) -> dict:
    """A filled order of a strategy, the only one that its frame led to: on some frames two strategies trade."""
    orders = json.loads(asked("orders", "--page-size", "500", "--json"))["orders"]
    of_frame = Counter(one["correlationId"] for one in orders)
    return next(
        one
        for one in orders
        if one["state"]["strategyId"] != "manual"
        and one["state"]["status"] == "ORDER_STATUS_FILLED"
        and of_frame[one["correlationId"]] == 1
    )


def test_an_order_is_told_from_its_frame_to_the_ledger(asked):
    """Frame, signal, verdict, order, broker call, fill and ledger entries follow each other, in the order of their times."""
    order = strategys_order(asked)
    story = json.loads(asked("trace", order["state"]["orderId"], "--json"))
    assert story["correlation_id"] == order["correlationId"]
    assert story["trace_id"] == order["correlationId"].replace("-", "")
    assert story["missing"] == []
    root = story["steps"]
    assert [kind for kind in kinds(root) if kind not in ("event", "snapshot", "rule")] == [
        "frame", "signal", "verdict", "order", "call", "fill", "ledger"
    ]  # fmt: skip
    times = [found(root, kind)["at"] for kind in ("frame", "signal", "verdict", "order", "fill", "ledger")]
    assert times == sorted(times, key=datetime.fromisoformat)
    assert found(root, "signal")["ids"]["signal_id"] == order["state"]["signalId"]
    assert {entry["ledgerAccount"] for entry in story["ledger_entries"]} >= {
        "LEDGER_ACCOUNT_CASH",
        "LEDGER_ACCOUNT_POSITIONS",
    }


def test_every_id_of_an_order_tells_the_same_story(asked):
    """The ids of order, signal, fill and event, the correlation id, the trace id and a traceparent are found by themselves."""
    order = strategys_order(asked)
    story = json.loads(asked("trace", order["state"]["orderId"], "--json"))
    fill = found(story["steps"], "fill")["ids"]
    others = (
        order["state"]["signalId"],
        fill["fill_id"],
        fill["event_id"].upper(),
        story["correlation_id"],
        story["trace_id"],
        f"00-{story['trace_id']}-00f067aa0ba902b7-01",
    )
    for one in others:
        told = json.loads(asked("trace", one, "--json"))
        assert told["correlation_id"] == story["correlation_id"], one
        assert found(told["steps"], "order")["ids"] == found(story["steps"], "order")["ids"]


def test_a_manual_order_begins_with_the_command(asked):
    """Who placed it, what risk said, what the broker did and what was booked; nothing comes before the command."""
    placed = json.loads(asked("orders", "place", "buy", "NSE:INFY", "10", "--json"))["order"]
    manual = json.loads(asked("trace", placed["state"]["orderId"], "--json"))
    root = manual["steps"]
    assert kinds(root)[:4] == ["command", "verdict", "order", "call"]
    assert "ledger" in kinds(root)
    assert root["since_start_ms"] == 0
    assert root["text"].startswith("PlaceOrder by ")
    assert root["text"].endswith(": OK")
    assert all(entry["correlationId"] == manual["correlation_id"] for entry in manual["orders"])


def test_a_refusal_names_the_rule(asked):
    """A refused order's story has the verdict with its reason."""
    placed = json.loads(asked("orders", "place", "buy", "NSE:INFY", "99000", "--json"))["order"]
    shown = asked("trace", placed["state"]["signalId"])
    assert "refused, BUYING_POWER: " in shown
    assert "risk rejected" in shown
    assert "fill" not in shown


def test_the_tree_has_times_since_the_cause(asked):
    """A person sees trace id, correlation id, and a line for each step with its milliseconds."""
    order = strategys_order(asked)
    shown = asked("trace", order["state"]["orderId"])
    head, when, columns, frame, *rest = shown.splitlines()
    assert head.split()[:2] == ["trace", order["correlationId"].replace("-", "")]
    assert "ms in all" in when
    assert columns.split() == ["ms", "+ms", "what"]
    assert frame.split()[:2] == ["0.0", "frame"]
    assert order["state"]["orderId"] in shown
    assert sum("ledger" in line for line in rest) == 1


def test_the_settings_link_to_jaeger(asked, monkeypatch):
    """With Jaeger's address in the settings the link to the trace's page is printed."""
    monkeypatch.setenv("ALPHAPANDA_TELEMETRY__JAEGER_URL", "http://127.0.0.1:16686/")
    order = strategys_order(asked)
    assert asked("trace", order["state"]["orderId"]).splitlines()[-1].strip() == (
        f"in Jaeger: http://127.0.0.1:16686/trace/{order['correlationId'].replace('-', '')}"
    )


def test_an_unknown_id_says_what_was_looked_for(refused):
    """One line: the id, what it might have been, and how much of the log was searched."""
    assert refused("trace", NOBODYS).startswith(
        f"nothing names {NOBODYS}: looked for an order, signal, fill, event and correlation id in the rows of trading, risk"
    )
    assert refused("trace", "order 7", code=2).startswith("ID: 'order 7' is not allowed; a UUID or 32 hex")
