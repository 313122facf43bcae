"""Puts the facts of a chain of events together as a tree of steps, each with the wall time at which it happened. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from alphapanda.commands.order_tables import why_ended
from alphapanda.commands.risk_tables import outcome_of
from alphapanda.commands.story.facts import MANUAL, ORDER_EVENTS, VERDICT_EVENTS, Facts, is_event, signal_of
from alphapanda.commands.story.lines import (
    call_step,
    change_step,
    command_step,
    equity_text,
    is_letter,
    ledger_step,
    letter_step,
    made_at,
    state_of,
    verdict_of,
    wall_moment,
    wanted_text,
)
from alphapanda.commands.story.steps import BAD, GOOD, QUIET, WAITS, Step, Story
from alphapanda.commands.wording import amount, count, market_moment, money, rupees, shown_time, word
from panda.common.v1.common_pb2 import RULE_OUTCOME_CLAMPED, RULE_OUTCOME_FAILED
from panda.events.v1.events_pb2 import Event
from panda.ops.v1.ops_pb2 import DeadLetter
from panda.portfolio.v1.portfolio_pb2 import LedgerEntry
from panda.trading.v1.trading_pb2 import Order

MARKET: Final = "%d %b %Y %H:%M:%S"
ORDER_STYLES: Final = {"filled": GOOD, "failed": BAD, "rejected": BAD, "unknown": BAD}


def told(facts: Facts, correlation_id: str, asked: str) -> Story:
    """Tells the story of a chain: of the whole, or of one signal's part where the id asked for belongs to one signal.

    Args:
        facts: what is known.
        correlation_id: of the chain.
        asked: the id that was asked for.
    """
    teller = _Teller(facts, correlation_id)
    signals = teller.signals()
    chosen = [signal for signal in signals if asked in teller.named_by(signal)]
    if asked == correlation_id or not chosen:
        chosen = signals
    root = teller.root(chosen)
    root.steps += [teller.branch(signal) for signal in chosen]
    if len(chosen) == len(signals):
        root.steps += teller.rest()
    return Story(correlation_id, root, len(signals) - len(chosen))


class _Teller:
    """Builds the steps of one chain."""

    def __init__(self, facts: Facts, correlation_id: str) -> None:
        self._facts = facts
        self._correlation_id = correlation_id
        self._events = facts.events()
        self._records = {one.event.event_id: one for one in facts.records if is_event(one)}
        self._orders = {one.state.signal_id: one for one in facts.orders.values()}
        self._of_signal: dict[str, list[Event]] = {}
        self._told: set[str] = set()
        for event in self._events.values():
            if signal := signal_of(event):
                self._of_signal.setdefault(signal, []).append(event)

    def signals(self) -> list[str]:
        """Ids of all signals of the chain, in the order of their first event."""
        return list(dict.fromkeys([*self._of_signal, *self._facts.verdicts, *self._orders]))

    def named_by(self, signal: str) -> set[str]:
        """Every id that belongs to one signal's part of the chain."""
        named = {signal}
        for event in self._of_signal.get(signal, ()):
            named.add(event.event_id)
            if event.HasField("order_filled"):
                named.add(event.order_filled.fill_id)
        if order := self._orders.get(signal):
            named |= {order.state.order_id, *(one.intent_id for one in order.intents)}
            named |= {
                one.fill_id for one in self._facts.fills.values() if one.order_id == order.state.order_id
            }
        named |= {one.transaction_id for one in self._facts.entries if one.fill_id in named}
        return named

    # -- the cause ----------------------------------------------------------------------------------------------------

    def root(self, signals: Iterable[str]) -> Step:
        """What the chain began with."""
        record = self._records.get(self._correlation_id)
        if record is not None and record.event.HasField("tick_frame"):
            self._told.add(self._correlation_id)
            frame = record.event.tick_frame
            ticks = len(frame.instrument_token)
            clock = shown_time(market_moment(frame, "market_time"), MARKET)
            where = f"{record.topic}/{record.partition}@{record.offset}"
            text = f"{count(ticks)} ticks on {where}, market time {clock}"
            return Step("frame", text, made_at(record.event), ids={"frame_id": self._correlation_id})
        if self._facts.commands:
            first, *others = map(command_step, self._facts.commands)
            first.steps += others
            return first
        sources = {self._source(signal) for signal in signals}
        ids = {"command_id": self._correlation_id}
        if sources == {MANUAL}:
            placed = [wall_moment(one, "created_at") for one in self._orders.values()]
            at = min((one for one in placed if one is not None), default=None)
            return Step("command", "an order placed by a person", at, ids=ids)
        if sources == {"strategy"}:
            text = "market data, no longer on the log"
            return Step("frame", text, style=QUIET, ids={"frame_id": self._correlation_id})
        return Step("command", "a command or timer", ids=ids)

    def _source(self, signal: str) -> str:
        order, verdict = self._orders.get(signal), self._facts.verdicts.get(signal)
        events = self._of_signal.get(signal, ())
        made = next((one for one in events if one.HasField("trading_signal")), None)
        if made is not None:
            return made.source
        named = order.state.strategy_id if order else verdict.strategy_id if verdict else ""
        return MANUAL if named == MANUAL else "strategy" if named else ""

    # -- one signal ---------------------------------------------------------------------------------------------------

    def branch(self, signal: str) -> Step:
        """A signal with its verdict, its order and all that followed."""
        events = self._of_signal.get(signal, [])
        self._told |= {one.event_id for one in events}
        verdict, order = self._verdict(signal, events), self._order(signal, events)
        if verdict is not None and order is not None:
            verdict.steps.append(order)
        steps = [one for one in (verdict or order,) if one is not None] + self._letters(signal)
        made = next((one for one in events if one.HasField("trading_signal")), None)
        ids = {"signal_id": signal}
        if made is not None:
            return Step("signal", wanted_text(made), made_at(made), ids=ids, steps=steps)
        if len(steps) == 1:
            return steps[0]  # a manual order has no signal of its own
        return Step("signal", "no longer on the log", style=QUIET, ids=ids, steps=steps)

    def _verdict(self, signal: str, events: Iterable[Event]) -> Step | None:
        verdict = self._facts.verdicts.get(signal) or next(
            (verdict_of(one, signal) for one in events if one.WhichOneof("payload") in VERDICT_EVENTS), None
        )
        if verdict is None:
            return None
        event = next((one for one in events if one.WhichOneof("payload") in VERDICT_EVENTS), None)
        text = outcome_of(verdict).plain
        if verdict.reason:
            text = f"refused, {verdict.reason}: {verdict.message}"
        outcomes = Counter(word(rule, "outcome") for rule in verdict.rules)
        if verdict.rules:
            said = (f"{outcomes[each]} {each}" for each in ("passed", "clamped", "failed") if outcomes[each])
            text += f" ({', '.join(said)} of {len(verdict.rules)} rules)"
        style = GOOD if verdict.approved else WAITS if verdict.waiting else BAD
        step = Step("verdict", text, made_at(event), style, {"signal_id": signal})
        for rule in verdict.rules:
            if (
                rule.outcome in {RULE_OUTCOME_FAILED, RULE_OUTCOME_CLAMPED}
                and rule.message != verdict.message
            ):
                told_by_it = rule.message or f"{rule.observed} of {rule.limit}"
                style = BAD if rule.outcome == RULE_OUTCOME_FAILED else WAITS
                step.steps.append(
                    Step("rule", f"{rule.rule} {word(rule, 'outcome')}: {told_by_it}", style=style)
                )
        return step

    def _order(self, signal: str, events: Iterable[Event]) -> Step | None:
        order = self._orders.get(signal)
        changes = sorted(
            (one for one in events if one.WhichOneof("payload") in ORDER_EVENTS),
            key=lambda one: state_of(one).order_revision,
        )
        if order is None and not changes:
            return None
        if order is None:
            order = Order(state=state_of(changes[-1]), broker=changes[-1].broker)
        status = word(order.state, "status")
        text = f"{status}: {word(order.state, 'side')} {count(order.state.quantity)} {order.symbol or order.state.instrument_id}"
        if price := amount(order.state, "average_price"):
            text += f" at {rupees(price)}"
        if order.state.filled_quantity not in {0, order.state.quantity}:
            text += f", {count(order.state.filled_quantity)} filled"
        if (why := why_ended(order)) and not changes:  # else its last event says it
            text += f", {why}"
        style = ORDER_STYLES.get(status, WAITS)
        # A manual order is stored before risk is asked: its time is that of the command.
        at = None if order.state.strategy_id == MANUAL else wall_moment(order, "created_at")
        step = Step("order", text, at, style, {"order_id": order.state.order_id})
        step.steps += map(call_step, order.intents)
        step.steps += [
            self._fill(one) if one.HasField("order_filled") else change_step(one) for one in changes
        ]
        seen = {one.order_filled.fill_id for one in changes if one.HasField("order_filled")}
        for fill in self._facts.fills.values():
            if fill.order_id == order.state.order_id and fill.fill_id not in seen:
                text = f"{count(fill.quantity)} at {rupees(amount(fill, 'price'))}"
                step.steps.append(
                    Step("fill", text, ids={"fill_id": fill.fill_id}, steps=self._booked(fill.fill_id))
                )
        return step

    def _fill(self, event: Event) -> Step:
        filled = event.order_filled
        text = f"{count(filled.quantity)} at {rupees(amount(filled, 'price'))}, charges {money(amount(filled, 'commission'))}"
        ids = {"fill_id": filled.fill_id, "event_id": event.event_id}
        step = Step("fill", text, made_at(event), ids=ids, steps=self._booked(filled.fill_id))
        if not step.steps:
            step.steps.append(Step("ledger", "not booked yet", style=WAITS))
        step.steps += self._snapshots(event)
        return step

    # -- what a fill led to -------------------------------------------------------------------------------------------

    def _booked(self, fill_id: str) -> list[Step]:
        entries = [one for one in self._facts.entries if one.fill_id == fill_id]
        transactions: dict[str, list[LedgerEntry]] = {}
        for entry in entries:
            transactions.setdefault(entry.transaction_id, []).append(entry)
        return [ledger_step(name, lines) for name, lines in transactions.items()]

    def _snapshots(self, fill: Event) -> list[Step]:
        own = [
            one
            for one in self._events.values()
            if one.HasField("portfolio_snapshot") and one.causation_id == fill.event_id
        ]
        self._told |= {one.event_id for one in own}
        if own:
            return [
                Step(
                    "snapshot",
                    equity_text(one.portfolio_snapshot),
                    made_at(one),
                    QUIET,
                    {"event_id": one.event_id},
                )
                for one in own
            ]
        later = self._facts.snapshots.get(fill.order_filled.fill_id)
        return [] if later is None else [Step("snapshot", equity_text(later), style=QUIET)]

    # -- what does not belong to a signal -----------------------------------------------------------------------------

    def rest(self) -> list[Step]:
        """Events and dead letters of the chain that belong to no signal."""
        events = [
            Step(
                "event",
                f"{(one.WhichOneof('payload') or '').replace('_', ' ')} of {one.source}",
                made_at(one),
                ids={"event_id": name},
            )
            for name, one in self._events.items()
            if name not in self._told
        ]
        return events + self._letters("")

    def _letters(self, signal: str) -> list[Step]:
        return [
            letter_step(one) for one in self._facts.letters.values() if self._signal_of_letter(one) == signal
        ]

    def _signal_of_letter(self, letter: DeadLetter) -> str:
        for record in self._facts.records:
            if (record.topic, record.partition, record.offset) == (
                letter.topic,
                letter.partition,
                letter.offset,
            ):
                return signal_of(record.event)
        return next((signal_of(one.event) for one in self._facts.records if is_letter(one, letter)), "")
