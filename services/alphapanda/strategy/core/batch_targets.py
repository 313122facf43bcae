"""Computes the targets at the ticks of many frames, strategy by strategy instead of tick by tick."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Final

from msgspec import Struct

from alphapanda.domain.frame_batch import FrameBatch
from alphapanda.strategy.core.sessions import SessionSpan
from alphapanda.strategy.core.strategy import Target
from alphapanda.strategy.core.waiting import WaitingTarget
from alphapanda.strategy.core.watching import Route, Watcher


class BatchTarget(Struct, frozen=True, gc=False):
    """A target at a tick of a batch.

    Attributes:
        tick: index of the tick in the batch, from 0.
        watcher: the strategy on the instrument.
        target: its target.
        session_close: close of the session that contains the tick.
    """

    tick: int
    watcher: Watcher
    target: Target
    session_close: datetime


def batch_targets(batch: FrameBatch, routes: Mapping[int, Route]) -> list[BatchTarget] | None:
    """Computes the targets at the ticks of a batch.

    Args:
        batch: the frames.
        routes: the strategies by instrument token.

    Returns:
        The targets in the order of the ticks, at one tick in the order of the route. None if a strategy can't handle the
        batch at once; then the state of every strategy is unchanged.
    """
    before: list[tuple[Watcher, object]] = []
    targets: list[BatchTarget] = []
    shows_opens = batch.has_empty_frames  # a frame without ticks may show a session's open
    if shows_opens and any(watcher.waits_for_open for route in routes.values() for watcher in route.watchers):
        return None
    for token, ticks in _by_token(batch).items():
        route = routes.get(token)
        if route is None:
            continue
        made = _of_route(batch, ticks, route, before)
        waited = shows_opens and any(watcher.waiting.waited for watcher in route.watchers)
        if made is None or waited:
            for watcher, state in before:
                watcher.restore(state)
            return None
        targets += made
    targets.sort(key=_TICK)
    return targets


def _of_route(
    batch: FrameBatch, ticks: Sequence[int], route: Route, before: list[tuple[Watcher, object]]
) -> list[BatchTarget] | None:
    """The targets on one instrument; adds the strategies' earlier states to `before`."""
    if route.always or route.bars is not None or not all(w.isolated.supports_batches for w in route.watchers):
        return None
    belongs_at, prices, times = batch.belongs_at, batch.last_price, batch.exchange_time
    if len(ticks) < len(prices):
        belongs_at, prices, times = ([column[n] for n in ticks] for column in (belongs_at, prices, times))
    spans = route.window.spans(belongs_at)
    if spans is None:
        return None
    scale = batch.price_scale
    rupees = [price / scale for price in prices]
    targets = []
    for watcher in route.watchers:
        before.append((watcher, watcher.state()))
        watcher.waiting.waited = watcher.waiting.target is not None
        made = watcher.isolated.on_ticks(rupees, times)
        if made is None:
            return None
        targets += [
            BatchTarget(ticks[index], watcher, target, close)
            for index, target, close in tradable_targets(
                made, (rupees, belongs_at, times), spans, watcher.waiting
            )
        ]
    return targets


def tradable_targets(
    made: Iterable[tuple[int, Target]],
    ticks: tuple[Sequence[float], Sequence[int], Sequence[int]],
    spans: Sequence[SessionSpan],
    waiting: WaitingTarget,
) -> Iterator[tuple[int, Target, datetime]]:
    """The targets at the ticks at which they can be traded: those made at a session's close at the next session's first.

    It is `Watcher.tradable` for many ticks, most of which have no target.

    Args:
        made: (index of the tick, target), ascending.
        ticks: of each tick the price in rupees, the time that decides its session, and its exchange time.
        spans: the sessions of the ticks.
        waiting: the target that waits at the first tick; at the end, the one that waits after the last.

    Yields:
        (index of the tick, target, close of the session).
    """
    rupees, belongs_at, times = ticks
    place, span = 0, spans[0]
    begin = 0  # the first tick at which a waiting target may be traded
    for index, target in made:
        if waiting.target is not None:
            yield from _waited(begin, index, times, spans[place:], waiting)
        while index >= span.end:
            place += 1
            span = spans[place]
        if times[index] >= span.close_ns:
            close = rupees[index] if belongs_at[index] < times[index] else 0.0
            waiting.put(target, span.day_open_ns, close)
            begin = index + 1
        else:
            waiting.forget()
            yield index, target, span.close
    if waiting.target is not None:
        yield from _waited(begin, len(times), times, spans[place:], waiting)


def _waited(
    begin: int, end: int, times: Sequence[int], spans: Iterable[SessionSpan], waiting: WaitingTarget
) -> Iterator[tuple[int, Target, datetime]]:
    """The waiting target at the first tick from `begin` on, and before `end`, at which it can be traded."""
    for span in spans:
        for index in range(begin, min(end, span.end)):
            if times[index] < span.close_ns:
                target = waiting.taken(span.day_open_ns)
                if target is not None:
                    yield index, target, span.close
                return
        begin = max(begin, span.end)


def waiting_at_end(batch: FrameBatch, routes: Mapping[int, Route]) -> Iterator[tuple[int, int]]:
    """(token, shard) of the instruments on which a target waits for the next open after a batch that was computed."""
    for token, route in routes.items():
        if any(watcher.waits_for_open for watcher in route.watchers) and token in batch.instrument_token:
            tick = batch.instrument_token.index(token)
            yield token, batch.frames[bisect_right(batch.ends, tick)].shard


def _by_token(batch: FrameBatch) -> Mapping[int, Sequence[int]]:
    """The indexes of each instrument's ticks."""
    if batch.only_token is not None:
        return {batch.only_token: range(len(batch.instrument_token))}
    by_token: dict[int, list[int]] = {}
    for number, token in enumerate(batch.instrument_token):
        by_token.setdefault(token, []).append(number)
    return by_token


_TICK: Final = attrgetter("tick")
