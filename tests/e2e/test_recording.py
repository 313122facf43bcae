"""What `alphapanda up --record` leaves behind is what `alphapanda replay` reads."""

from __future__ import annotations

import json
import os

import fork_server
from evidence import read_evidence
from running import ALPHAPANDA, until

from panda.marketdata.v1.marketdata_pb2 import GetMarketStatusRequest


def test_a_recorded_feed_is_replayed_tick_by_tick(up, tmp_path):
    """The file is there when the process has ended, and every tick that was published is in it."""
    file = tmp_path / "day.parquet"
    platform = up("--speed", "20", "--record", str(file))
    until(lambda: platform.market.GetMarketStatus(GetMarketStatusRequest()).ticks > 100, 30, "ticks")
    assert not file.exists()
    platform.stop()
    finished = platform.logged("recording.completed")[0]
    # The simulator has trading days on any date; beyond the calendar's end a replay is told to take weekdays for them.
    replayed = fork_server.run(
        [ALPHAPANDA[0], "replay", str(file), "--strategy", "ema_cross", "--json"],
        env=os.environ | {"ALPHAPANDA_CALENDAR__PROVISIONAL_WEEKDAYS": "true"},
    )
    replayed.check_returncode()
    ticks = json.loads(replayed.stdout)["ticks"]
    frames = [event.tick_frame for event in read_evidence(platform.data_dir).of("tick_frame")]
    assert len(frames) == finished["frames"]
    assert sum(len(frame.instrument_token) for frame in frames) == ticks > 50
    refused = fork_server.run(
        [ALPHAPANDA[0], "up", "--record", str(file), "--data-dir", str(tmp_path / "none")]
    )
    assert refused.returncode != 0
    assert refused.stderr.startswith("alphapanda: --record: ")
    assert "the name of a file that isn't there yet" in refused.stderr
    assert not (tmp_path / "none").exists()
