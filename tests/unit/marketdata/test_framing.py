import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.domain.frame import Frame
from alphapanda.marketdata.core.framing import FrameBuilder
from alphapanda.marketdata.core.ticks import Tick


def builder():
    return FrameBuilder("run", 2, lambda token: token % 2, 100, simulated=True)


TICKS = st.builds(
    lambda *fields: Tick(*fields[:-1], *fields[-1]),
    st.integers(1, 5),
    st.integers(1, 9),
    st.integers(0, 9),
    st.none() | st.integers(0, 3),
    st.none() | st.just(4),
    st.sampled_from([(None, None, None), (2, 9, 1)]),
)


@given(st.lists(st.lists(TICKS, max_size=8)))
def test_frames_hold_every_tick_of_their_shard_in_order(batches):
    """Nothing is lost or moved within a shard, numbers run from 1, an instrument is at most once in a frame."""
    build = builder()
    frames = [frame for time, ticks in enumerate(batches) for frame in build.frames(time, ticks)]
    for shard in (0, 1):
        own = [frame for frame in frames if frame.shard == shard]
        assert [frame.sequence for frame in own] == list(range(1, len(own) + 1))
        unframed = [
            Tick(
                token,
                frame.last_price[at],
                frame.exchange_time[at],
                frame.volume[at] if frame.volume else None,
                frame.bar_start[at] if frame.bar_start else None,
                *((frame.open[at], frame.high[at], frame.low[at]) if frame.open else (None, None, None)),
            )
            for frame in own
            for at, token in enumerate(frame.instrument_token)
        ]
        assert unframed == [t for ticks in batches for t in ticks if t.instrument_token % 2 == shard]
        assert all(len(set(frame.instrument_token)) == len(frame.instrument_token) > 0 for frame in own)


@given(st.lists(st.integers(0, 9), min_size=1))
def test_market_time_never_goes_back(times):
    """A batch that is older than the last is framed at the last one's time."""
    build = builder()
    seen = [frame.market_time_ns for time in times for frame in build.frames(time, [Tick(1, 1, time)])]
    assert seen == sorted(seen)
    assert seen[-1] == max(times)


def test_one_tick_and_many_are_framed_alike():
    """The short way for a single tick builds what the long one would."""
    tick = Tick(1, 100, 5, 7, 3, 101, 103, 99)
    (short,) = builder().frames(5, [tick])
    long, _ = builder().frames(5, [tick, tick._replace(instrument_token=2)])
    assert short == long
    assert short.frame_id == long.frame_id


def test_every_silent_shard_gets_a_heartbeat():
    """It moves the shard's market time, and has a number of its own."""
    build = builder()
    frames = build.frames(5, [Tick(1, 100, 5)])
    (beat,) = build.heartbeats(5, frames)
    assert (beat.shard, beat.sequence, beat.market_time_ns, len(beat.instrument_token)) == (0, 1, 5, 0)
    assert [frame.sequence for frame in build.heartbeats(6)] == [2, 2]


def test_it_goes_on_after_frames_made_before():
    """Numbers and market time follow those of the log."""
    build = builder()
    build.continue_after({0: 4, 1: 9}, 50)
    (frame,) = build.frames(40, [Tick(1, 100, 40)])
    assert (frame.sequence, frame.market_time_ns) == (10, 50)


def test_a_frame_with_uneven_columns_is_refused():
    """Required columns have a value per tick, optional ones too or none."""
    with pytest.raises(ValueError, match="last_price has 0 values for 1 ticks"):
        Frame("run", 0, 1, 5, 100, instrument_token=(1,), exchange_time=(5,))
    with pytest.raises(ValueError, match="volume has 2 values for 1 ticks"):
        Frame("run", 0, 1, 5, 100, (1,), (1,), (5,), volume=(1, 2))
    with pytest.raises(ValueError, match="high has 0 values for 1 opens"):
        Frame("run", 0, 1, 5, 100, (1,), (1,), (5,), (4,), open=(1,), low=(1,))


def test_a_frame_cannot_be_changed():
    """Who shares one relies on it."""
    with pytest.raises(AttributeError):
        Frame("run", 0, 1, 5, 100).sequence = 2
