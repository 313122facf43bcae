"""Options of `alphapanda up`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from alphapanda.app.preflight import StartCheck
from alphapanda.embedded.layout import Layout
from alphapanda.trading.execution_context import Step, no_step
from alphapanda.trading.traders.brokers import BROKERS
from alphapanda.trading.traders.registry import BrokerRegistration


@dataclass(frozen=True, slots=True)
class UpOptions:
    """Options of `alphapanda up`.

    Attributes:
        data_dir: the data directory.
        fresh: whether to wipe the data directory first.
        feed: "sim" or "replay:FILE".
        instrument: "NSE:INFY", for recordings of bars.
        speed: market seconds per wall second; None: the feed's default.
        allow_drops: whether a recording of which almost nothing was used is only a warning.
        record: Parquet file to record every published frame in; None records nothing.
        demo: create and start the demo strategies.
        demo_brokers: brokers that some of them opt in to.
        auth: whether callers sign in, with a secret of the data directory where the settings have none.
        brokers: the registered brokers.
        at: called at each step of an order.
        on_progress: called with what the start is doing.
        on_checked: called with the checks before the services start.
        on_directory: called with the layout once the data directory is locked (and wiped, where `fresh`).
        on_first_admin: called with the password of the first administrator, who is created where there is none.
    """

    data_dir: Path
    fresh: bool = False
    feed: str = "sim"
    instrument: str | None = None
    speed: float | None = None
    allow_drops: bool = False
    record: Path | None = None
    demo: bool = False
    demo_brokers: Sequence[str] = ()
    auth: bool = False
    brokers: Sequence[BrokerRegistration] = BROKERS
    at: Step = no_step
    on_progress: Callable[[str], None] = lambda _: None
    on_checked: Callable[[Sequence[StartCheck]], None] = lambda _: None
    on_directory: Callable[[Layout], None] = lambda _: None
    on_first_admin: Callable[[str], None] = lambda _: None
