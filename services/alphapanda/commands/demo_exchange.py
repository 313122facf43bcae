"""The stub of Kite Connect that `alphapanda up --demo-zerodha` trades against: a process of its own, of a source checkout."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Final
from urllib.request import Request, urlopen

import alphapanda
from alphapanda.commands.console import fail, out
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.errors import InvalidInput
from alphapanda.embedded.layout import INSTRUMENTS_FILE
from alphapanda.settings.model import Settings
from alphapanda.settings.zerodha import ZerodhaSettings

MODULE: Final = "tests.kite_exchange"
START_SECONDS: Final = 90.0
STOP_SECONDS: Final = 5.0
API_KEY: Final = "demo"
BROKER: Final = "zerodha"
CALLBACK_URL: Final[str] = ZerodhaSettings.model_fields["callback_url"].default
_OPEN: Final = "00:00-23:59"
_SQUARED_OFF: Final = time(23, 50)
_DAYS: Final = 3


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the stub answers."""

    api_root: str
    ws_root: str


class DemoExchange:
    """A stub exchange as a process of its own, which ends with this one.

    Args:
        checkout: the folder of the sources.

    Attributes:
        addresses: where it answers, once it has been started.
    """

    def __init__(self, checkout: Path) -> None:
        self._checkout = checkout
        self._folder = tempfile.TemporaryDirectory(prefix="alphapanda-demo-")
        self._process: subprocess.Popen[bytes] | None = None
        self.addresses = Addresses("", "")
        self._books: Path | None = None

    @property
    def ended(self) -> bool:
        """Whether its process isn't there any more."""
        return self._process is None or self._process.poll() is not None

    @property
    def log(self) -> Path:
        """What it says on its error output."""
        return Path(self._folder.name) / "exchange.log"

    def start(self) -> None:
        """Starts it, on the port that it had before, and waits until it answers.

        Raises:
            InvalidInput: it has not started; the message has its last words.
        """
        port = self.addresses.api_root.rpartition(":")[2] or "0"
        command = [sys.executable, "-m", MODULE, "--json", "--with-parent", "--port", port]
        command += ["--api-key", API_KEY, "--api-secret", _secret(), "--redirect-url", CALLBACK_URL]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - a program of ours
                command,
                cwd=self._checkout,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for this process, which then ends it
                env={name: value for name, value in os.environ.items() if not name.startswith("ALPHAPANDA_")},
            )
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        line = _line_within(self._process.stdout, START_SECONDS)
        try:
            self.addresses = Addresses(**json.loads(line))
        except (ValueError, TypeError):
            said = self.log.read_text(errors="replace").strip().splitlines()
            self.stop()
            raise InvalidInput(
                "--demo-zerodha",
                "its exchange has not started",
                f"{said[-1] if said else 'nothing was said'} ({' '.join(command)})",
            ) from None
        if self._books is not None:
            self.keep_books(self._books)

    def keep_books(self, file: Path) -> None:
        """Has it keep its orders, trades and accounts in a file, and go on with those that are in it: brokers forget nothing.

        Raises:
            InvalidInput: it can't be told.
        """
        self._books = file
        url = f"{self.addresses.api_root}/stub/books"
        told = Request(url, json.dumps({"file": str(file)}).encode())  # noqa: S310 - http, on loopback
        try:
            urlopen(told, timeout=STOP_SECONDS).close()  # noqa: S310 - as above
        except OSError as error:
            raise InvalidInput(
                "--demo-zerodha", str(file), f"a file for its exchange's books: {error}"
            ) from None

    def stop(self) -> None:
        """Ends it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def close(self) -> None:
        """Ends it, and removes its files."""
        self.stop()
        self._folder.cleanup()

    def settings(self, now: datetime) -> Mapping[str, Mapping[str, Any]]:
        """Settings by section, with which the platform takes it for Zerodha, whose market is open round the clock.

        Args:
            now: aware.
        """
        hours = Path(self._folder.name) / "calendar.toml"
        hours.write_text(open_calendar(now.date()), encoding="utf-8")
        return {
            "zerodha": {
                "enabled": True,
                "accounts": (),
                "api_key": API_KEY,
                "api_secret": _secret(),
                "api_root": self.addresses.api_root,
                "login_root": self.addresses.api_root,
                "ws_root": self.addresses.ws_root,
                "callback_url": CALLBACK_URL,
                "max_order_value": 1_000_000,
                "max_daily_loss": 100_000,
                "max_daily_trades": 500,
            },
            "calendar": {"file": hours},
            "paper_trading": {"square_off_time": _SQUARED_OFF},
        }


def with_own_instruments(settings: Settings, data_dir: Path) -> Settings:
    """The settings with a registry of instruments in the demo's directory: the user's own has none that the stub made up."""
    file = data_dir.expanduser() / INSTRUMENTS_FILE
    return settings.model_copy(update={"instruments": settings.instruments.model_copy(update={"file": file})})


@contextmanager
def started_exchange() -> Iterator[DemoExchange]:
    """A started exchange for the block; the command ends with one line where there can be none."""
    if out.is_terminal:
        out.print("[dim]starting a stub of Zerodha …[/dim]")
    try:
        exchange = DemoExchange(require_checkout())
    except InvalidInput as error:
        fail(str(error))
    try:
        try:
            exchange.start()
        except InvalidInput as error:
            fail(str(error))
        yield exchange
    finally:
        exchange.close()


def _secret() -> str:
    return f"{API_KEY}-secret"


def require_checkout() -> Path:
    """The folder of the sources, which has the stub exchange.

    Raises:
        InvalidInput: this is an installed package, without it, or what it needs is missing.
    """
    checkout = Path(alphapanda.__file__).resolve().parents[2]
    if not (checkout / "tests" / "kite_exchange" / "__main__.py").is_file():
        raise InvalidInput(
            "--demo-zerodha",
            alphapanda.__file__,
            "a checkout of the sources, which has the stub exchange in tests/",
        )
    for package in ("aiohttp", "kiteconnect"):
        if find_spec(package) is None:
            raise InvalidInput("--demo-zerodha", f"no {package}", "the packages of `make setup`")
    return checkout


def demo_directory(usual: Path) -> Path:
    """The data directory where none is named: beside the usual one, whose market clock may be ahead of now."""
    return usual.with_name(f"{usual.name}-demo-zerodha")


def open_calendar(today: date) -> str:
    """A calendar file by which all markets are open round the clock, from today on."""
    days = [today + timedelta(days=number) for number in range(_DAYS)]
    last = load_nse_calendar().last_covered_day
    covered = f"covered_to = {days[-1]}\n" if days[-1] > last else ""
    sessions = "".join(
        f'\n[[special_sessions]]\nday = {day}\nname = "the demo\'s market"\nsessions = ["{_OPEN}"]\n'
        for day in days
    )
    return f'source = "alphapanda up --demo-zerodha"\n{covered}{sessions}'


def _line_within(pipe: IO[bytes], seconds: float) -> bytes:
    ready, _, _ = select.select([pipe], [], [], seconds)
    return pipe.readline() if ready else b""
