"""Order by key: what came first is decided, sent and booked first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from evidence import Evidence

from alphapanda.domain.order import OrderStatus
from panda.events.v1.events_pb2 import Event

ORDER_PAYLOADS = ("order_submitted", "order_filled", "order_failed", "order_cancelled")
MANUAL = b"manual:"


def check_order(evidence: Evidence) -> None:
    """Signals of a key are let through in the order in which they came, become orders in it, and fills are booked in it.

    A person's order has its row before its verdict: of two that a person placed while risk was away, the later one may
    be decided first, so their rows stand in the order of placing. Every other order's row follows its verdict. What
    happens to orders of one position follows their verdicts, whoever placed them.
    """
    signals = _in_order(evidence, "trading_signal", lambda event: event.event_id)
    validated = _in_order(evidence, "signal_validated", lambda event: event.signal_validated.signal_id)
    filled = _in_order(evidence, "order_filled", lambda event: event.order_filled.fill_id)
    rows = [str(row["signal_id"]) for row in evidence.rows("orders")]
    booked = [str(row["fill_id"]) for row in evidence.rows("fills")]
    assert signals
    assert validated
    for key, verdicts in validated.items():
        came = set(signals.get(key, ()))
        with_signal = [signal_id for signal_id in verdicts if signal_id in came]
        assert with_signal == verdicts or key.startswith(MANUAL), f"{key!r}: a verdict without a raw signal"
        _check_follows(f"verdicts of {key!r}", with_signal, signals.get(key, ()))
        let_through = set(with_signal)
        _check_follows(
            f"rows of {key!r}", [signal_id for signal_id in rows if signal_id in let_through], with_signal
        )
    _check_what_happened(evidence, validated)
    for key, came in filled.items():
        known = set(came)
        _check_follows(f"fills of {key!r}", [fill_id for fill_id in booked if fill_id in known], came)


def _check_what_happened(evidence: Evidence, validated: dict[bytes, list[str]]) -> None:
    """On each topic, events of a position's orders stand in the order of their verdicts, each up to its order's end."""
    position_of = {
        str(row["signal_id"]): (
            row["broker"],
            row["account"],
            row["strategy_id"],
            row["instrument_id"],
            row["product"],
        )
        for row in evidence.rows("orders")
    }
    ends: dict[str, int] = {}
    for event in evidence.of(*ORDER_PAYLOADS):
        state = getattr(event, event.WhichOneof("payload") or "").order
        if OrderStatus(state.status).is_final:
            ends[state.order_id] = min(state.order_revision, ends.get(state.order_id, state.order_revision))
    for payload in ORDER_PAYLOADS:

        def of_an_open_order(event: Event, payload: str = payload) -> str:
            state = getattr(event, payload).order
            late = state.order_revision > ends.get(state.order_id, state.order_revision)
            return "" if late else str(state.signal_id)

        for key, happened in _in_order(evidence, payload, of_an_open_order).items():
            verdicts = validated.get(key, [])
            known = set(verdicts)
            by_position: defaultdict[object, list[str]] = defaultdict(list)
            for signal_id in happened:
                if signal_id in known:
                    by_position[position_of[signal_id]].append(signal_id)
            for orders in by_position.values():
                _check_follows(f"{payload} of {key!r}", orders, verdicts)


def _in_order(evidence: Evidence, payload: str, name: Callable[[Event], str]) -> dict[bytes, list[str]]:
    """By key, in the order in which they stand on the log first."""
    topics = evidence.topic_map.topics(payload)
    found: defaultdict[bytes, dict[str, None]] = defaultdict(dict)
    for record in evidence.records:
        if record.topic in topics:
            found[record.key][name(evidence.events[dict(record.headers)["ce_id"].decode()])] = None
    return {key: list(names) for key, names in found.items()}


def _check_follows(what: str, later: Sequence[str], before: Sequence[str]) -> None:
    place = {name: number for number, name in enumerate(before)}
    places = [place[name] for name in later]
    assert places == sorted(places), f"{what}: {later} after {before}"
