"""A replay that asks strategies about many frames at once ends as one that goes frame by frame."""

from __future__ import annotations

import random
from datetime import date, datetime

import pytest

from alphapanda.app.replay import compose_replay
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.domain.order import Product
from alphapanda.instruments.core import shipped_instruments
from alphapanda.settings.sources import load_settings
from alphapanda.strategy.core.config import StrategyConfig, StrategyInstrument, StrategyState
from alphapanda.strategy.core.ema_cross import EmaCross, EmaCrossParameters
from alphapanda.strategy.core.registry import StrategyRegistry
from alphapanda.strategy.core.strategy import Stance, Strategy, StrategyParameters, Wish

DIRECTORY, CALENDAR = shipped_instruments(date.max), load_nse_calendar()
INSTRUMENTS = [
    DIRECTORY.require_symbol(symbol, "symbol") for symbol in ("NSE:INFY", "NSE:TCS", "NSE:YESBANK")
]
SCALE = 10_000
SECOND = 1_000_000_000


class Stumbling(Strategy):
    """Wishes at random, raises at some prices, one by one and at once."""

    type_name = "stumbling"
    parameters_model = StrategyParameters

    def __init__(self, parameters):
        self.seen = 0

    def on_tick(self, price, time_ns):
        self.seen += 1
        if round(price * 20) % 97 == 0:
            raise ArithmeticError("a price it can't bear")
        return Wish(Stance((self.seen // 7) % 3 - 1), f"tick {self.seen}") if self.seen % 7 == 0 else None

    def on_ticks(self, prices, times_ns):
        asked = [
            (n, self.on_tick(price, at)) for n, (price, at) in enumerate(zip(prices, times_ns, strict=True))
        ]
        return [(n, wish) for n, wish in asked if wish is not None]


def configured(name, strategy_type, instruments, **parameters):
    return StrategyConfig(
        strategy_id=name,
        revision=1,
        state=StrategyState.RUNNING,
        strategy_type=strategy_type,
        parameters=parameters,
        instruments=tuple(StrategyInstrument(one.instrument_id, one.instrument_token) for one in instruments),
        brokers=(),
        account="default",
        quantity=10,
        product=Product.MIS,
        signal_ttl_seconds=60,
    )


def recorded(seed, *, bars):
    """Two days of frames of up to three instruments, some of them empty, some before and after the sessions."""
    chance = random.Random(seed)
    tokens = [one.instrument_token for one in INSTRUMENTS[: chance.randint(1, 3)]]
    price = dict.fromkeys(tokens, 200 * SCALE)
    frames = []
    for day in (2, 3):
        at = nanoseconds(datetime.fromisoformat(f"2024-01-{day:02}T09:14:30+05:30"))
        for _ in range(1200):
            at += chance.choice((0, 1, 5, 60)) * SECOND
            ticked = [token for token in tokens if chance.random() < 0.8]
            for token in ticked:
                price[token] = max(SCALE, price[token] + chance.choice((-500, 0, 500, 1000, -1000)))
            frames.append(
                Frame(
                    *("test", 0, len(frames) + 1, at, SCALE, tuple(ticked)),
                    tuple(price[token] for token in ticked),
                    (at,) * len(ticked),
                    (at - 60 * SECOND,) * len(ticked) if bars else (),
                )
            )
    return frames


def ended(frames, strategies, *, one_by_one, registry=None):
    """Everything that can be asked of a replay after it, and each fill on the way."""
    fills = []

    def took(filled, realised):
        fills.append((filled, realised))

    replay = compose_replay(strategies, load_settings({}), CALENDAR, DIRECTORY, took, registry)
    replay.run(frames, one_by_one=one_by_one)
    tracker = replay.tracker
    return (
        *(replay.tally, replay.statement(), fills, replay.strategy_failures(), tracker.equity),
        *(tracker.max_drawdown, tracker.max_drawdown_fraction),
        [tracker.last_price(one.instrument_token) for one in INSTRUMENTS],
    )


@pytest.mark.parametrize("seed", range(6))
def test_books_fills_and_drawdown_are_those_of_frame_by_frame(seed):
    """Several strategies and instruments, session ends, square-offs, heartbeats and bars change nothing in that."""
    frames = recorded(seed, bars=seed % 2 == 1)
    strategies = [
        configured("a", "ema_cross", INSTRUMENTS, fast="3", slow="8"),
        configured("b", "ema_cross", INSTRUMENTS[:1], fast="10", slow="20"),
    ]
    singly = ended(frames, strategies, one_by_one=True)
    assert singly[0].fills > 50
    assert ended(frames, strategies, one_by_one=False) == singly


def test_a_strategy_that_raises_is_shown_the_frames_one_by_one():
    """Its errors are counted tick by tick and stop it where they would have; the others' states go back as well."""
    registry = StrategyRegistry((EmaCross, Stumbling))
    frames = recorded(11, bars=False)
    strategies = [
        configured("a", "ema_cross", INSTRUMENTS, fast="3", slow="8"),
        configured("s", "stumbling", INSTRUMENTS),
    ]
    singly = ended(frames, strategies, one_by_one=True, registry=registry)
    assert singly[3]
    assert ended(frames, strategies, one_by_one=False, registry=registry) == singly


def test_one_strategy_that_floods_is_stopped_at_the_same_signal():
    """The limit of signals a minute counts in batches as it counts frame by frame."""
    frames = recorded(3, bars=False)
    settings = {"ALPHAPANDA_STRATEGY__MAX_SIGNALS_PER_MINUTE": "2"}
    strategies = [configured("a", "ema_cross", INSTRUMENTS, fast="1", slow="2")]
    ends = []
    for one_by_one in (True, False):
        replay = compose_replay(strategies, load_settings(settings), CALENDAR, DIRECTORY)
        replay.run(frames, one_by_one=one_by_one)
        ends.append((replay.tally, replay.statement(), replay.strategy_failures()))
    assert ends[0][2]
    assert ends[0] == ends[1]


@pytest.mark.parametrize("seed", range(4))
def test_ema_cross_over_many_ticks_is_the_stream_to_the_last_bit(seed):
    """However the ticks are cut into batches: the same wishes with the same words, and the same state."""
    chance = random.Random(seed)
    price, prices = 200.0, []
    for _ in range(3000):
        price = max(1.0, price + chance.choice((-0.05, 0.0, 0.05, 0.35)) - 0.08 * (price > 210))
        prices.append(price)
    streaming, batched = (EmaCross(EmaCrossParameters(fast=5, slow=12)) for _ in range(2))
    streamed = [
        (n, wish) for n, price in enumerate(prices) if (wish := streaming.on_tick(price, n)) is not None
    ]
    wished, begin = [], 0
    while begin < len(prices):
        end = begin + chance.choice((0, 1, 3, 200))
        times = range(begin, min(end, len(prices)))
        wished += [(begin + n, wish) for n, wish in batched.on_ticks(prices[begin:end], times)]
        begin = end
    assert len(streamed) > 20
    assert wished == streamed
    assert batched.state() == streaming.state()
