"""Settings of Zerodha by Kite Connect: accounts and keys, addresses, sessions, limits."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, field_validator

from alphapanda.settings.section import Seconds, Section

_ALL: Final = 100
_ACCOUNT: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")


class ZerodhaSettings(Section):
    """Zerodha by Kite Connect. It is used where it has a key, or an account."""

    enabled: bool = Field(default=False, description="send signals of strategies that opted in to Zerodha")
    accounts: tuple[str, ...] = Field(
        (),
        description="our names of the accounts at Zerodha, each with a session of its own; empty: the one that `account`"
        " names, where there is an api_key",
    )
    api_key: str = Field(
        "",
        description="key of the Kite Connect app, for `up` and `serve auth` alone; with several accounts one for each, in"
        " their order, with commas between",
        repr=False,
    )
    api_secret: str = Field(
        "",
        description="secret of the Kite Connect app, for `up` and `serve auth` alone; several as with api_key",
        repr=False,
    )
    session_key: str = Field(
        "",
        description="what access tokens are encrypted with, at least 32 bytes, the same for every service that speaks to"
        " Zerodha; several with commas between: the first encrypts, all of them decrypt; empty: `up` makes its own",
        repr=False,
    )
    login_root: str = Field(
        "https://kite.zerodha.com",
        pattern=r"^https?://[^\s/@?#]+$",
        description="where people sign in, without a path",
    )
    api_root: str = Field(
        "https://api.kite.trade",
        pattern=r"^https?://[^\s/@?#]+$",
        description="where Kite's HTTP API answers, without a path",
    )
    ws_root: str = Field(
        "wss://ws.kite.trade",
        pattern=r"^wss?://[^\s@?#]+$",
        description="where Kite's WebSocket with ticks and order updates answers",
    )
    callback_url: str = Field(
        "http://127.0.0.1:5017/kite/callback",
        pattern=r"^https?://[^\s/@?#]+(/[^\s?#]*)?$",
        description="redirect URL of the app, as Zerodha's developer console has it; `alphapanda kite login` listens there"
        " where it is on this machine",
    )
    login_seconds: Seconds = Field(
        600.0, le=3600, description="how long a login that was begun may take until it is completed"
    )
    connect_timeout_seconds: Seconds = Field(
        3.0, description="longest wait for a connection to api_root; nothing was sent by then"
    )
    read_timeout_seconds: Seconds = Field(
        7.0, description="longest wait for an answer from api_root; an order without one is UNKNOWN"
    )
    ipv4_only: bool = Field(
        default=True,
        description="reach api_root by IPv4 alone: a host with IPv6 too would order from an address that isn't on the"
        " app's list",
    )
    orders_per_second: int = Field(
        8, ge=1, le=10, description="order requests of an account in a second; Zerodha refuses more than 10"
    )
    orders_per_minute: int = Field(
        400,
        ge=4,
        le=400,
        description="order requests of an account in a minute; Zerodha refuses more than 400",
    )
    orders_per_day: int = Field(
        5000,
        ge=4,
        le=5000,
        description="order requests of an account in a day; Zerodha refuses more than 5000",
    )
    kept_for_exits_percent: int = Field(
        25,
        ge=0,
        le=90,
        description="share of the minute's and the day's order requests that is kept for exits and cancels",
    )

    market_protection_percent: Decimal = Field(
        Decimal(-1),
        ge=-1,
        le=100,
        description="how far from the last price a market order may trade, in percent; -1: as far as Zerodha sets itself",
    )
    visibility_seconds: Seconds = Field(
        180.0,
        le=3600,
        description="how long an order without an answer is looked for in the order book before it counts as absent",
    )
    least_look_ups: int = Field(
        5, ge=1, le=100, description="answered look-ups without an order before it counts as absent"
    )
    halt_after_refusals: int = Field(
        3,
        ge=1,
        le=100,
        description="equal refusals in a row, in words that are on no list, after which an account's entries are halted",
    )

    escalate_after_seconds: Seconds = Field(
        3.0, le=3600, description="how long an exit at the market may rest before its limit goes further"
    )
    escalation_percents: tuple[str, ...] = Field(
        ("1", "3"),
        max_length=10,
        description="how far from the last price each step of a resting exit goes, in percent; after the last one it goes"
        " to the circuit",
    )
    ask_after_minutes: float = Field(
        30.0,
        gt=0,
        le=1440,
        description="an exit that could not be sent for so long after it was due isn't sent by itself any more: a person"
        " is asked",
    )

    @field_validator("escalation_percents")
    @classmethod
    def _percents(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        try:
            percents = [Decimal(percent) for percent in given]
        except InvalidOperation:
            percents = [Decimal(0)]
        if not all(0 < percent < _ALL for percent in percents) or percents != sorted(set(percents)):
            raise ValueError("percentages above 0 and below 100, each larger than the one before")
        return given

    @field_validator("market_protection_percent")
    @classmethod
    def _protection(cls, percent: Decimal) -> Decimal:
        if percent <= 0 and percent != -1:
            raise ValueError(
                "-1, or more than 0 and at most 100: Zerodha refuses market orders without protection"
            )
        return percent

    restricted_file: Path | None = Field(
        None,
        description="TOML file with the shares that the exchange restricts (ASM, GSM, F&O ban), read again when it changes;"
        " without one a stock's futures and options take no entries at Zerodha",
    )
    restricted_most_days: int = Field(
        3,
        ge=1,
        le=30,
        description="days after which that list is too old: live entries in shares are refused",
    )

    max_order_value: Annotated[Decimal, Field(gt=0, max_digits=19, decimal_places=4)] | None = Field(
        None, description="rupees of one entry at Zerodha; zerodha.enabled needs it"
    )
    max_daily_loss: Annotated[Decimal, Field(gt=0, max_digits=19, decimal_places=4)] | None = Field(
        None,
        description="loss at Zerodha in the exchange's day, in rupees, from which on an account only reduces;"
        " zerodha.enabled needs it",
    )
    max_daily_trades: Annotated[int, Field(ge=0)] | None = Field(
        None, description="orders of an account at Zerodha in the exchange's day; zerodha.enabled needs it"
    )

    @field_validator("accounts")
    @classmethod
    def _accounts(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not _ACCOUNT.fullmatch(name):
                raise ValueError(f"account {name!r}: letters, digits, '_' and '-', at most 32 characters")
        if len(set(names)) != len(names):
            raise ValueError("an account is named twice")
        return names

    @property
    def api_keys(self) -> tuple[str, ...]:
        """The keys, in the order of the accounts."""
        return parts_of(self.api_key)

    @property
    def api_secrets(self) -> tuple[str, ...]:
        """The secrets, in the order of the accounts."""
        return parts_of(self.api_secret)


def parts_of(text: str) -> tuple[str, ...]:
    """What stands between the commas, without white space."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def accounts_of(names: tuple[str, ...], api_key: str, default: str) -> tuple[str, ...]:
    """The accounts at Zerodha; empty where it isn't used.

    Args:
        names: those that `zerodha.accounts` names.
        api_key: the setting of that name; with a key and no names there is one account.
        default: the deployment's setting `account`.
    """
    return names or ((default,) if api_key else ())
