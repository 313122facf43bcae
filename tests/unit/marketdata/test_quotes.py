from __future__ import annotations

from datetime import date

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
        assert board.take(frame(number, *tokens))
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
        board.take(frame(number, TOKENS[number % 5]))
    assert sorted(told(board, 1, wanted)[0]) == sorted(TOKENS)
    assert len(board._moves) < 1_000


def test_only_what_is_watched_is_told():
    """Others may move meanwhile."""
    board = QuoteBoard(DIRECTORY)
    board.take(frame(1, *TOKENS))
    assert told(board, 0, {TOKENS[2]}) == [[TOKENS[2]]]
    board.take(frame(2, TOKENS[0]))
    assert told(board, 1, {TOKENS[2]}) == []


def test_neither_an_older_tick_nor_an_unknown_instrument_moves_anything():
    """A heartbeat doesn't either."""
    board = QuoteBoard(DIRECTORY)
    board.take(frame(5, *TOKENS))
    assert not board.take(frame(4, *TOKENS))
    assert not board.take(frame(6, 5))
    assert not board.take(frame(7))
    assert board.version == 1


def test_an_instrument_that_ticks_twice_in_a_frame_is_told_once_at_its_latest():
    """As the contract says of a message, whichever of the two comes first; one without volume takes none over."""
    board = QuoteBoard(DIRECTORY)
    a, b = TOKENS[:2]
    board.take(
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
    board.take(frame(3, a))
    (message,) = (WatchQuotesResponse.FromString(one) for one in board.updates(1, None))
    assert not message.quotes[0].HasField("volume")


def test_a_message_may_be_asked_for_again_by_all_who_keep_up():
    """It is encoded once, and is another one with the next frame."""
    board = QuoteBoard(DIRECTORY)
    board.take(frame(1, *TOKENS))
    first, again = (next(board.updates(0, None)) for _ in range(2))
    assert first is again
    board.take(frame(2, TOKENS[0]))
    assert next(board.updates(1, None)) != first
