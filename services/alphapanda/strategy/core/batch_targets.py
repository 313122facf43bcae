"""Computes the targets at the ticks of many frames, strategy by strategy instead of tick by tick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from alphapanda.domain.frame_batch import FrameBatch
from alphapanda.strategy.core.strategy import Target
from alphapanda.strategy.core.watching import Route, Watcher


class BatchTarget(NamedTuple):
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
    for token, ticks in _by_token(batch).items():
        route = routes.get(token)
        if route is None:
            continue
        made = _of_route(batch, ticks, route, before)
        if made is None:
            for watcher, state in before:
                watcher.restore(state)
            return None
        targets += made
    targets.sort(key=_tick)
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
    closes = route.window.closes(belongs_at)
    if closes is None:
        return None
    scale = batch.price_scale
    rupees = [price / scale for price in prices]
    targets = []
    for watcher in route.watchers:
        before.append((watcher, watcher.state()))
        made = watcher.isolated.on_ticks(rupees, times)
        if made is None:
            return None
        session = iter(closes)
        end, close = 0, closes[0][1]
        for index, target in made:
            while index >= end:
                end, close = next(session)
            targets.append(BatchTarget(ticks[index], watcher, target, close))
    return targets


def _by_token(batch: FrameBatch) -> Mapping[int, Sequence[int]]:
    """The indexes of each instrument's ticks."""
    if batch.only_token is not None:
        return {batch.only_token: range(len(batch.instrument_token))}
    by_token: dict[int, list[int]] = {}
    for number, token in enumerate(batch.instrument_token):
        by_token.setdefault(token, []).append(number)
    return by_token


def _tick(target: BatchTarget) -> int:
    return target.tick
