"""A batch joins the ticks of its frames, whatever their number in each."""

from __future__ import annotations

import pytest

from alphapanda.domain.frame import Frame
from alphapanda.domain.frame_batch import FrameBatch, OutOfOrder

SCALE = 10_000


def _frame(sequence: int, ticks: int, *, bars: bool = False) -> Frame:
    numbers = tuple(range(sequence * 10, sequence * 10 + ticks))
    starts = tuple(number - 5 for number in numbers) if bars else ()
    prices = tuple(SCALE + number for number in numbers)
    return Frame("run", 0, sequence, sequence // 2, SCALE, numbers, prices, numbers, starts)


@pytest.mark.parametrize("bars", [False, True])
@pytest.mark.parametrize("sizes", [[1, 1, 1], [0, 2, 1], [2, 0], [0], [3], [1]])
def test_every_tick_is_joined_once_in_its_order(sizes: list[int], bars: bool) -> None:
    """Frames with one tick each are joined in a way of their own; the columns are the same as by joining any frames."""
    frames = [_frame(number, ticks, bars=bars) for number, ticks in enumerate(sizes)]
    batch = FrameBatch(frames)
    tokens = [token for frame in frames for token in frame.instrument_token]
    assert list(batch.ends) == [sum(sizes[: number + 1]) for number in range(len(sizes))]
    assert batch.instrument_token == batch.exchange_time == tokens
    assert batch.last_price == [SCALE + token for token in tokens]
    assert batch.belongs_at == ([token - 5 for token in tokens] if bars else tokens)
    assert batch.only_token == (tokens[0] if len(tokens) == 1 else None)


def test_a_token_that_all_ticks_share_is_known() -> None:
    """A batch of one instrument says which."""
    frames = [Frame("run", 0, n, n, SCALE, (7,), (SCALE,), (n,)) for n in range(3)]
    assert FrameBatch(frames).only_token == 7


def test_frames_out_of_order_make_no_batch() -> None:
    """Market time never falls within a batch, and all prices have one scale; equal times are in order."""
    first, second, third = _frame(0, 1), _frame(1, 1), _frame(2, 1)
    assert first.market_time_ns == second.market_time_ns
    FrameBatch([first, second, third])
    with pytest.raises(OutOfOrder):
        FrameBatch([third, first])
    with pytest.raises(OutOfOrder):
        FrameBatch([first, Frame("run", 0, 3, 9, SCALE * 10)])
