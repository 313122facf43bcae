"""Benchmarks are compared with the last run that was kept."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from tests.bench.figures import Figure
from tests.bench.kept_runs import compared, keep, kept


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


def test_a_second_run_of_a_commit_replaces_only_what_it_measured(tmp_path) -> None:
    """Cards that were kept before on the same commit and day stay where a later run measured others."""
    at = datetime(2026, 11, 30, 8, tzinfo=UTC)

    def run(*figures: tuple[str, float]) -> dict[str, object]:
        made = [{"card": card, "what": "it", "ratio": ratio} for card, ratio in figures]
        return {"at": at.isoformat(), "commit": "abc", "machine": "m-2-cores", "figures": made}

    keep(run(("P2", 2.0), ("P5", 0.5)), at, tmp_path)
    path = keep(run(("P5", 0.6)), at, tmp_path)
    kept_figures = json.loads(path.read_text())["figures"]
    assert {figure["card"]: figure["ratio"] for figure in kept_figures} == {"P2": 2.0, "P5": 0.6}
