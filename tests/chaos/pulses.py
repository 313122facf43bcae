"""What the pulse strategies had to say, counted from the frames on the log by a loop that knows no snapshot and no group."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from itertools import zip_longest

from evidence import Evidence, Row

from alphapanda.strategy.core.config import StrategyState

CYCLES = ((1, 0), (1, -1), (1, -1, 0))
"""Of strategies/pulse.py, by number: long, flat, short."""
Told = list[tuple[str, int]]
"""Signals as (frame's event id, units to hold), in the frames' order."""


def check_pulses(evidence: Evidence) -> None:
    """Each running revision said at every so manieth tick what is due there, once, and nothing else.

    A tick that was shown twice or not at all, a state that was torn or taken up at the wrong place would move all that
    follows.
    """
    frames = _frames(evidence)
    said = _said(evidence, frames)
    for row, end in _revisions(evidence):
        parameters = json.loads(row["parameters"])
        every, cycle = int(parameters["every"]), CYCLES[int(parameters["cycle"])]
        shown = [
            frame
            for frame in frames[row["partition"]]
            if row["next_offset"] <= frame[0] and (end is None or frame[0] < end)
        ]
        for _, token in json.loads(row["instruments"]):
            ticks = [event_id for _, event_id, tokens in shown for each in tokens if each == token]
            due = [
                (event_id, cycle[n // every % len(cycle)] * row["quantity"])
                for n, event_id in enumerate(ticks, 1)
                if n % every == 0
            ]
            told = said.get((row["strategy_id"], row["revision"], row["partition"], token), [])
            if end is None:  # its last frames may still be on their way to it
                due = due[: len(told)]
            assert told == due, _difference(row, token, told, due)


def _revisions(evidence: Evidence) -> Iterator[tuple[Row, int | None]]:
    """The pulses' running revisions, partition by partition, and the offset at which each ended there, if it has."""
    rows = [row for row in evidence.rows("activations") if row["strategy_type"] == "pulse"]
    for row, after in zip_longest(rows, rows[1:]):
        if row["state"] == StrategyState.RUNNING:
            where = row["strategy_id"], row["partition"]
            ended = after is not None and (after["strategy_id"], after["partition"]) == where
            yield row, after["next_offset"] if after is not None and ended else None


def _frames(evidence: Evidence) -> dict[int, list[tuple[int, str, list[int]]]]:
    """By partition (offset, event id, tokens of the ticks); a frame that came twice counts where it came first."""
    (topic,) = evidence.topic_map.topics("tick_frame")
    frames: defaultdict[int, list[tuple[int, str, list[int]]]] = defaultdict(list)
    seen: set[str] = set()
    for record in evidence.records:
        event_id = dict(record.headers)["ce_id"].decode()
        if record.topic == topic and event_id not in seen:
            seen.add(event_id)
            tokens = list(evidence.events[event_id].tick_frame.instrument_token)
            frames[record.partition].append((record.offset, event_id, tokens))
    return frames


def _said(
    evidence: Evidence, frames: dict[int, list[tuple[int, str, list[int]]]]
) -> dict[tuple[str, int, int, int], Told]:
    """By strategy, revision, partition and token."""
    place = {event_id: (partition, offset) for partition, of in frames.items() for offset, event_id, _ in of}
    said: defaultdict[tuple[str, int, int, int], Told] = defaultdict(list)
    for event in evidence.of("trading_signal"):
        signal = event.trading_signal
        if event.causation_id in place:  # else it is a square-off's, of no revision
            partition = place[event.causation_id][0]
            whose = signal.strategy_id, signal.config_revision, partition, signal.instrument_token
            said[whose].append((event.causation_id, signal.target_position))
    for told in said.values():
        told.sort(key=lambda one: place[one[0]])
    return said


def _difference(row: Row, token: int, told: Told, due: Told) -> str:
    at = next((n for n, pair in enumerate(zip(told, due, strict=False)) if pair[0] != pair[1]), None)
    at = min(len(told), len(due)) if at is None else at
    return (
        f"{row['strategy_id']} revision {row['revision']} on {token}: {len(told)} signals, {len(due)} due;"
        f" from number {at} on {told[at : at + 2]} instead of {due[at : at + 2]}"
    )
