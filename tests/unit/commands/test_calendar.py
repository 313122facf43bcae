"""`alphapanda calendar`, and the days of a replay."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from alphapanda.app import clocks, doctor
from alphapanda.app.calendars import OWN_FILE, ending, notices, open_calendar
from alphapanda.app.findings import Outcome
from alphapanda.cli import main
from alphapanda.commands.status import _table
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.settings.calendars import CalendarSettings
from alphapanda.settings.model import Settings
from panda.ops.v1.ops_pb2 import GetStatusResponse

OWN = 'covered_to = 2027-03-31\n[holidays]\n2027-01-26 = "Republic Day"\n'
NEW_YEAR = datetime(2027, 1, 4, 5, tzinfo=UTC)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs alphapanda in an empty folder, with an own place for data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return lambda *arguments: CliRunner().invoke(main, list(arguments))


def test_a_period_is_shown_with_its_sessions_and_sureness(run) -> None:
    """Each day has its sessions, what it is, and how sure that is; beyond the end a day is unknown."""
    shown = run(
        "calendar", "show", "--from", "2024-05-18", "--to", "2024-05-20", "--json", "--segment", "NSE_FO"
    )
    drill, sunday, election = json.loads(shown.stdout)
    assert (drill["sessions"], drill["sureness"]) == ("09:15-10:00, 11:30-12:30", "disputed")
    assert (sunday["sessions"], sunday["what"]) == ("closed", "weekend")
    assert election["what"] == "General election in Mumbai"
    beyond = run("calendar", "show", "--from", "2026-12-31", "--to", "2027-01-01").stdout
    assert "unknown" in beyond
    special = json.loads(
        run("calendar", "show", "--from", "2019-01-01", "--to", "2019-12-31", "--special", "--json").stdout
    )
    assert len(special) == 18
    for wrong in (["--from", "1 May"], ["--from", "2024-05-02", "--to", "2024-05-01"], ["--segment", "NSE"]):
        assert run("calendar", "show", *wrong).exit_code == 2


def test_a_file_is_checked_and_imported(run, tmp_path) -> None:
    """A right file says what it changes and is found by doctor and replays at once; a wrong one changes nothing."""
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[holidays]\n2027-01-26 = 'x'\n")
    refused = run("calendar", "import", str(wrong))
    assert refused.exit_code == 2
    assert "wrong.toml" in refused.stderr
    assert "covered_to" in refused.stderr
    assert not (tmp_path / "data").exists()
    right = tmp_path / "own.toml"
    right.write_text(OWN)
    assert "2027-01-26 Tue: closed, Republic Day" in run("calendar", "check", str(right)).stdout
    assert run("calendar", "import", str(right)).exit_code == 0
    folder = tmp_path / "data" / "alphapanda"
    assert (folder / OWN_FILE).read_text() == OWN
    assert open_calendar(Settings(), folder).last_covered_day == date(2027, 3, 31)
    assert open_calendar(Settings(calendar=CalendarSettings(file=right)), None).covers(date(2027, 1, 4))


def test_doctor_knows_the_own_file_and_the_end(monkeypatch, tmp_path) -> None:
    """After its end the calendar is a warning with what to do; with an own file or provisional weekdays it is known."""
    monkeypatch.setattr(doctor, "wall_clock", lambda: NEW_YEAR)
    found = doctor.calendar_finding(Settings(), tmp_path)
    assert (found.outcome, "doesn't cover 2027-01-04" in found.reason) == (Outcome.WARN, True)
    assert "alphapanda calendar import" in found.remedy
    provisional = Settings(calendar=CalendarSettings(provisional_weekdays=True))
    found = doctor.calendar_finding(provisional, tmp_path)
    assert found.outcome is Outcome.WARN
    assert "taken as trading days up to 2027-12-31" in found.reason
    (tmp_path / OWN_FILE).write_text(OWN.replace("2027-03-31", "2027-12-31"))
    found = doctor.calendar_finding(Settings(), tmp_path)
    assert found.outcome is Outcome.OK
    assert OWN_FILE in found.reason
    (tmp_path / OWN_FILE).write_text("holidays")
    assert doctor.calendar_finding(Settings(), tmp_path).outcome is Outcome.FAIL


def test_the_end_is_told_from_sixty_days_before_it(monkeypatch) -> None:
    """61 days before the end nothing is said; from 60 days on it is, after it too."""
    calendar = load_nse_calendar()
    assert ending(calendar, date(2026, 10, 31), 60) is None
    assert ending(calendar, date(2026, 11, 1), 60) == "the trading calendar ends on 2026-12-31, in 60 days"
    assert ending(calendar, date(2027, 1, 1), 60) == "the trading calendar ended on 2026-12-31"
    monkeypatch.setattr(clocks, "wall_clock", lambda: NEW_YEAR)
    assert "alphapanda calendar import" in notices(calendar, 60)()[0]


@pytest.mark.parametrize("today", [date(2027, 3, 1), date(2031, 6, 2)])
def test_a_simulated_market_has_days_on_any_date(today: date) -> None:
    """The calendar of a simulated feed goes on with provisional weekdays, from today's date on."""
    calendar = open_calendar(Settings(), None, simulated_from=today)
    assert calendar.is_trading_day(today)
    assert calendar.last_announced_day == date(2026, 12, 31)


def bars(file: Path, *days: str) -> None:
    rows = [f"{day} 09:{15 + n}:00,96,96,96,96,100" for day in days for n in range(6)]
    file.write_text("\n".join(["datetime_ist,open,high,low,close,volume", *rows]) + "\n")


def test_the_days_of_a_replay_are_checked_first_and_left_out(run, tmp_path) -> None:
    """A day that was asked for and isn't covered ends the replay before it; days outside --from and --to count nowhere."""
    bars(tmp_path / "bars.csv", "2023-12-29", "2024-01-01", "2024-01-02")
    of = ("replay", "bars.csv", "--instrument", "NSE:YESBANK", "--strategy", "ema_cross", "--json")
    whole = json.loads(run(*of).stdout)
    assert whole["ticks"] == 18
    assert "calendar" not in whole["assumptions"]
    assert json.loads(run(*of, "--from", "2024-01-01").stdout)["ticks"] == 12
    assert json.loads(run(*of, "--from", "2024-01-01", "--to", "2024-01-01").stdout)["ticks"] == 6
    beyond = run(*of, "--to", "2027-01-04")
    assert beyond.exit_code == 2
    assert "no data for 2027-01-04" in beyond.stderr
    assert run(*of, "--from", "2024-01-02", "--to", "2024-01-01").exit_code == 2
    bars(tmp_path / "bars.csv", "2015-01-01", "2015-01-02")
    assert "special sessions" in json.loads(run(*of).stdout)["assumptions"]["calendar"]
    bars(tmp_path / "bars.csv", "2026-12-31", "2027-01-01")
    late = run(*of)
    assert late.exit_code == 2
    assert "--from and --to" in late.stderr


def test_status_shows_what_a_person_should_know() -> None:
    """What the processes of a mesh say about the calendar is shown once, below the services."""
    said = "the trading calendar ends on 2026-12-31, in 31 days"
    shown = io.StringIO()
    console = Console(file=shown, width=200)
    console.print(_table(GetStatusResponse(version="1", notices=[said]), []))
    assert said in shown.getvalue()
