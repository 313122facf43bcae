from __future__ import annotations

import random
from datetime import date
from decimal import Decimal

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from alphapanda.instruments.core import shipped_instruments
from alphapanda.marketdata.quotes import QuoteBoard
from panda.events.v1.frame_pb2 import TickFrame
from panda.marketdata.v1.marketdata_pb2 import Quote, WatchQuotesResponse

DIRECTORY = shipped_instruments(date(2026, 11, 23))
TOKENS = [one.instrument_token for one in DIRECTORY if one.tradable][:5]


def frame(number: int, *tokens: int) -> TickFrame:
    return TickFrame(
        market_time=Timestamp(seconds=number),
        price_scale=100,
        instrument_token=tokens,
        last_price=[10_000 + number] * len(tokens),
        exchange_time=[number * 10**9] * len(tokens),
    )


def told(board: QuoteBoard, after: int, wanted: set[int] | None = None) -> list[list[int]]:
    messages = [WatchQuotesResponse.FromString(one) for one in board.updates(after, wanted)]
    return [[quote.instrument_token for quote in message.quotes] for message in messages]


@pytest.mark.parametrize("wanted", [None, set(TOKENS)])
def test_those_that_waited_longest_come_first_each_once_and_at_its_latest(wanted):
    """Whoever is a few frames behind gets what moved since, by the first move it missed."""
    board = QuoteBoard(DIRECTORY)
    a, b, c, d, e = TOKENS
    for number, tokens in enumerate([(a, b, c, d, e), (b, a), (c,), (a, b)], 1):
        assert board.apply(frame(number, *tokens))
    assert told(board, 3, wanted) == [[a, b]]
    assert told(board, 1, wanted) == [[b, a, c]]
    assert told(board, 4, wanted) == []
    (message,) = (WatchQuotesResponse.FromString(one) for one in board.updates(1, wanted))
    assert [quote.last_price.value for quote in message.quotes] == ["100.04", "100.04", "100.03"]
    assert message.market_time.seconds == 4


@pytest.mark.parametrize("wanted", [None, set(TOKENS)])
def test_whoever_is_thousands_of_frames_behind_gets_each_instrument_once(wanted):
    """And nothing was kept for it."""
    board = QuoteBoard(DIRECTORY)
    for number in range(1, 3_000):
        board.apply(frame(number, TOKENS[number % 5]))
    assert sorted(told(board, 1, wanted)[0]) == sorted(TOKENS)
    assert len(board._moves) < 1_000


def test_only_what_is_watched_is_told():
    """Others may move meanwhile."""
    board = QuoteBoard(DIRECTORY)
    board.apply(frame(1, *TOKENS))
    assert told(board, 0, {TOKENS[2]}) == [[TOKENS[2]]]
    board.apply(frame(2, TOKENS[0]))
    assert told(board, 1, {TOKENS[2]}) == []


def test_neither_an_older_tick_nor_an_unknown_instrument_moves_anything():
    """A heartbeat doesn't either."""
    board = QuoteBoard(DIRECTORY)
    board.apply(frame(5, *TOKENS))
    assert not board.apply(frame(4, *TOKENS))
    assert not board.apply(frame(6, 5))
    assert not board.apply(frame(7))
    assert board.version == 1


def test_an_instrument_that_ticks_twice_in_a_frame_is_told_once_at_its_latest():
    """As the contract says of a message, whichever of the two comes first; one without volume takes none over."""
    board = QuoteBoard(DIRECTORY)
    a, b = TOKENS[:2]
    board.apply(
        TickFrame(
            price_scale=100,
            instrument_token=(a, b, a, b, 5),
            last_price=(100, 200, 105, 195, 1),
            exchange_time=(1, 9, 2, 8, 1),
            volume=(10, 20, 11, 19, 1),
        )
    )
    (message,) = (WatchQuotesResponse.FromString(one) for one in board.updates(0, None))
    told_of = {one.instrument_token: (one.last_price.value, one.volume) for one in message.quotes}
    assert told_of == {a: ("1.05", 11), b: ("2", 20)}
    assert len(message.quotes) == 2
    assert message.quotes[0] == Quote(
        instrument_id=message.quotes[0].instrument_id,
        instrument_token=a,
        symbol=message.quotes[0].symbol,
        last_price={"value": "1.05"},
        traded_at=Timestamp(nanos=2),
        volume=11,
    )
    board.apply(frame(3, a))
    (message,) = (WatchQuotesResponse.FromString(one) for one in board.updates(1, None))
    assert not message.quotes[0].HasField("volume")


def test_a_message_may_be_asked_for_again_by_all_who_keep_up():
    """It is encoded once, and is another one with the next frame."""
    board = QuoteBoard(DIRECTORY)
    board.apply(frame(1, *TOKENS))
    first, again = (next(board.updates(0, None)) for _ in range(2))
    assert first is again
    board.apply(frame(2, TOKENS[0]))
    assert next(board.updates(1, None)) != first


@pytest.mark.parametrize("seed", range(8))
def test_frames_of_the_same_instruments_again_and_again_tell_what_single_ones_would(seed):
    """However often a message stands and is given up: who keeps up, who lags and who watches a few see the latest."""
    chance = random.Random(seed)
    board, latest = QuoteBoard(DIRECTORY), {}
    readers = [(None, 1), (set(TOKENS[1:3]), 1), (None, 7), (set(TOKENS), 300)]
    seen, sees = [0] * len(readers), [{} for _ in readers]
    tokens, number = TOKENS[:3], 0
    for turn in range(700):
        number += chance.choice((0, 0, 1))
        if chance.random() < 0.1:
            tokens = chance.sample(TOKENS, chance.randint(1, 5))
        made = frame(number, *tokens)
        made.last_price[:] = [10_000 + chance.randrange(400) for _ in tokens]
        if chance.random() < 0.9:
            made.volume[:] = [turn * 100 + n for n in range(len(tokens))]
        if chance.random() < 0.1:
            made.exchange_time[0] -= 2 * 10**9
        for n, token in enumerate(tokens):
            if made.exchange_time[n] >= latest.get(token, (0,))[0]:
                volume = made.volume[n] if made.volume else None
                latest[token] = (made.exchange_time[n], f"{Decimal(made.last_price[n]) / 100:f}", volume)
        board.apply(made)
        for reader, (wanted, every) in enumerate(readers):
            if turn % every == 0:
                told = [WatchQuotesResponse.FromString(one) for one in board.updates(seen[reader], wanted)]
                seen[reader] = board.version
                for quote in (quote for message in told for quote in message.quotes):
                    assert (
                        quote
                        == WatchQuotesResponse.FromString(board.message([quote.instrument_token])).quotes[0]
                    )
                    sees[reader][quote.instrument_token] = (
                        quote.traded_at.seconds * 10**9 + quote.traded_at.nanos,
                        quote.last_price.value,
                        quote.volume if quote.HasField("volume") else None,
                    )
                known = {token: quote for token, quote in latest.items() if wanted is None or token in wanted}
                assert sees[reader] == known
