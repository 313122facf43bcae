"""Benchmarks are compared with the last run that was kept."""

from __future__ import annotations

import json

from tests.bench.figures import Figure
from tests.bench.kept_runs import compared, kept


def test_a_slip_beyond_noise_is_marked_in_either_direction(tmp_path):
    """The newest kept ratio counts; more is better but for a bar that says at most; counts in the words don't matter."""
    for day, ratio in (("2026-11-28", 1.0), ("2026-11-29", 2.0)):
        figures = [
            Figure("P6", "100,000 ticks", "", ratio=ratio, bar=">= 1x")._asdict(),
            Figure("P2", "median", "", ratio=ratio, bar="<= 3x")._asdict(),
            Figure("P9", "memory", "")._asdict(),
        ]
        (tmp_path / f"{day}-abc.json").write_text(json.dumps({"at": day, "figures": figures}))
    before = kept(tmp_path)
    for ratio, more, less in (
        (2.1, "2.00", "2.00"),
        (1.5, "2.00 SLIPPED", "2.00"),
        (2.5, "2.00", "2.00 SLIPPED"),
    ):
        assert compared(Figure("P6", "50,000 ticks", "", ratio=ratio, bar=">= 1x"), before) == more
        assert compared(Figure("P2", "median", "", ratio=ratio, bar="<= 3x"), before) == less
    assert compared(Figure("P9", "memory", ""), before) == ""
    assert compared(Figure("P7", "new", "", ratio=1.0, bar=">= 1x"), before) == ""
