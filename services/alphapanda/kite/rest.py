"""Kite's HTTP API for one account, for asyncio: with the session of the moment, in turn, each failure judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final, TypeVar

from structlog.typing import FilteringBoundLogger

from alphapanda.kite.client import Ask, CallFailed, KiteThreads
from alphapanda.kite.limiter import AccountLimiter, CallKind, DayUsedUp, LimiterCore, TooManyWait
from alphapanda.kite.options import KiteOptions
from alphapanda.kite.outcomes import (
    Judgement,
    KiteError,
    KiteReason,
    KiteRefused,
    RawFailure,
    Stage,
    kite_error,
)
from alphapanda.kite.session import IST, KiteSession, NoSession, SessionFollower

ORDER_THREADS: Final = 16
"""Orders under way at once: more than may be sent in a second, so that some without an answer hold nobody up."""
OTHER_THREADS: Final = 4
ORDER_SECONDS: Final = 10.0
OTHER_SECONDS: Final = 60.0
"""Longest time for a whole answer; the dump of all instruments has about 10 MB."""
T = TypeVar("T")
Row = Mapping[str, Any]
"""An object of Kite's JSON, as kiteconnect converts it: times of length 19 are naive and mean India's."""


@dataclass(slots=True)
class RestFigures:
    """What has become of the calls so far, for health.

    Attributes:
        calls: calls that got an answer or failed.
        failed: of them, those that failed.
        latency_seconds: of the newest answer; None before the first.
        answered_at: wall time of the newest answer, aware; None before the first.
        last_error: text of the newest failure after the newest answer; empty where there is none.
    """

    calls: int = 0
    failed: int = 0
    latency_seconds: float | None = None
    answered_at: datetime | None = None
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """Who is signed in.

    Attributes:
        user_id: Zerodha's id, such as "XY1234".
        user_name: the person's name.
        exchanges: exchanges that the user may trade at.
        products: products that the user may use.
    """

    user_id: str
    user_name: str = field(repr=False)
    exchanges: tuple[str, ...]
    products: tuple[str, ...]


class KiteRest:
    """Calls Kite for one account.

    Every method raises NoSession where nobody is signed in, KiteRefused where nothing was done, and KiteUnknown where it may
    have been done (of a question: where it has no answer).

    Args:
        options: addresses, time-outs, limits.
        session: the account's session.
        log: gets failed calls.
        monotonic: returns the seconds of a clock that never goes back.
        wall_clock: returns the wall time, aware.
        today: returns the day in India.
        spent_today: order requests of today that were sent before this start.

    Attributes:
        session: the account's session.
    """

    def __init__(
        self,
        options: KiteOptions,
        session: SessionFollower,
        log: FilteringBoundLogger,
        monotonic: Callable[[], float],
        wall_clock: Callable[[], datetime],
        today: Callable[[], date],
        spent_today: int = 0,
    ) -> None:
        self.session: Final = session
        self._log = log
        self._monotonic = monotonic
        self._wall_clock = wall_clock
        self.limiter = AccountLimiter(LimiterCore(options.budgets, today(), spent_today), monotonic, today)
        self.figures = RestFigures()
        self._orders = KiteThreads(options, ORDER_THREADS, ORDER_SECONDS, "orders")
        self._others = KiteThreads(options, OTHER_THREADS, OTHER_SECONDS, "others")

    @property
    def account(self) -> str:
        """Our name of the account."""
        return self.session.newest.account

    def stop(self) -> None:
        """Ends the threads once their calls have ended."""
        self._orders.stop()
        self._others.stop()

    async def profile(self) -> Profile:
        """Who is signed in."""
        row = await self._ask("profile", CallKind.OTHER, lambda kite: kite.profile())
        return Profile(
            str(row.get("user_id", "")),
            str(row.get("user_name", "")),
            tuple(row.get("exchanges") or ()),
            tuple(row.get("products") or ()),
        )

    async def finds_dead(self, session: KiteSession) -> bool:
        """Whether a session that another way has refused is dead by the word of the HTTP API, too."""
        try:
            await self.profile()
        except (KiteError, NoSession):
            newest = self.session.newest
            return newest.session_id != session.session_id or newest.access_token is None
        return False

    async def margins(self) -> Row:
        """Funds by segment: `equity`, `commodity`."""
        return await self._ask("margins", CallKind.OTHER, lambda kite: kite.margins())

    async def instruments(self, exchange: str = "") -> bytes:
        """The dump of an exchange's instruments, or of all of them, as CSV: kiteconnect's parser takes seconds for it."""
        route, where = (
            ("market.instruments", {"exchange": exchange}) if exchange else ("market.instruments.all", None)
        )
        dump = await self._ask(
            "instruments",
            CallKind.OTHER,
            lambda kite: kite._get(route, url_args=where),  # noqa: SLF001 - `instruments` would parse it
        )
        if not isinstance(dump, bytes):
            failure = RawFailure(Stage.SENT, 200, message="the dump of instruments is no CSV")
            raise kite_error(self.account, "instruments", failure)
        return dump

    async def candles(
        self, instrument_token: int, interval: str, first: datetime, last: datetime, *, oi: bool = False
    ) -> Sequence[Row]:
        """Historical candles, oldest first: `date` (aware), `open`, `high`, `low`, `close`, `volume`, with `oi` open interest.

        Args:
            instrument_token: Kite's token.
            interval: "minute", "3minute", … "day".
            first: begin of the first candle, aware.
            last: begin of the last candle, aware.
            oi: whether open interest is wanted.
        """
        begin, end = (when.astimezone(IST).strftime("%Y-%m-%d %H:%M:%S") for when in (first, last))
        return await self._ask(
            "historical_data",
            CallKind.CANDLES,
            lambda kite: kite.historical_data(instrument_token, begin, end, interval, False, oi),  # noqa: FBT003
        )

    async def quote(self, keys: Sequence[str]) -> Row:
        """Full quotes by key ("NSE:INFY"), at most 500; a key that Kite doesn't know is absent."""
        return await self._ask("quote", CallKind.QUOTE, lambda kite: kite.quote(*keys))

    async def ltp(self, keys: Sequence[str]) -> Row:
        """Last prices by key, at most 1000; a key that Kite doesn't know is absent."""
        return await self._ask("ltp", CallKind.QUOTE, lambda kite: kite.ltp(*keys))

    async def orders(self) -> Sequence[Row]:
        """The day's order book."""
        return await self._ask("orders", CallKind.OTHER, lambda kite: kite.orders())

    async def order_history(self, order_id: str) -> Sequence[Row]:
        """The states of an order, oldest first."""
        return await self._ask("order_history", CallKind.OTHER, lambda kite: kite.order_history(order_id))

    async def trades(self) -> Sequence[Row]:
        """The day's trades."""
        return await self._ask("trades", CallKind.OTHER, lambda kite: kite.trades())

    async def order_trades(self, order_id: str) -> Sequence[Row]:
        """The trades of an order."""
        return await self._ask("order_trades", CallKind.OTHER, lambda kite: kite.order_trades(order_id))

    async def positions(self) -> Row:
        """Positions: `net` and `day`."""
        return await self._ask("positions", CallKind.OTHER, lambda kite: kite.positions())

    async def holdings(self) -> Sequence[Row]:
        """Holdings."""
        return await self._ask("holdings", CallKind.OTHER, lambda kite: kite.holdings())

    async def gtts(self) -> Sequence[Row]:
        """Orders that wait at Zerodha for a price (GTT)."""
        return await self._ask("get_gtts", CallKind.OTHER, lambda kite: kite.get_gtts())

    async def order_margins(self, orders: Sequence[Row]) -> Sequence[Row]:
        """Margins that orders would need, in their order."""
        return await self._ask(
            "order_margins", CallKind.OTHER, lambda kite: kite.order_margins([dict(one) for one in orders])
        )

    async def charges(self, orders: Sequence[Row]) -> Sequence[Row]:
        """Charges of executed orders, in their order; each needs an `average_price`."""
        return await self._ask(
            "charges",
            CallKind.OTHER,
            lambda kite: kite.get_virtual_contract_note([dict(one) for one in orders]),
        )

    async def place_order(self, kind: CallKind, **terms: Any) -> str:
        """Places an order; returns Zerodha's id of it. KiteUnknown: look it up by its tag, never send it again.

        Args:
            kind: EXIT or ENTRY.
            terms: kiteconnect's arguments of `place_order`; `tag` among them.
        """
        return str(await self._ask("place_order", kind, lambda kite: kite.place_order(**terms)))

    async def modify_order(self, kind: CallKind, **terms: Any) -> str:
        """Modifies an order; returns its id.

        Args:
            kind: EXIT or ENTRY.
            terms: kiteconnect's arguments of `modify_order`.
        """
        return str(await self._ask("modify_order", kind, lambda kite: kite.modify_order(**terms)))

    async def cancel_order(self, variety: str, order_id: str) -> str:
        """Cancels an order; returns its id."""
        return str(
            await self._ask("cancel_order", CallKind.EXIT, lambda kite: kite.cancel_order(variety, order_id))
        )

    async def _ask(self, call: str, kind: CallKind, ask: Ask[T]) -> T:
        self.session.require()  # who has no session needn't wait for a turn
        try:
            ticket = await self.limiter.take(kind)
        except (DayUsedUp, TooManyWait) as full:
            reason = KiteReason.DAY_USED_UP if isinstance(full, DayUsedUp) else KiteReason.RATE_LIMITED
            failure = RawFailure(Stage.NOT_SENT, message=str(full))
            raise KiteRefused(self.account, call, Judgement(reason, definite=True), failure) from None
        try:
            session = self.session.require()
        except BaseException:
            self.limiter.give_back(ticket)
            raise
        threads = self._orders if kind.is_order else self._others
        began = self._monotonic()
        try:
            answer = await threads.call(
                ask, session.api_key, session.access_token, lambda: self.limiter.give_back(ticket)
            )
        except CallFailed as error:
            failed = kite_error(session.account, call, error.failure)
        else:
            self.figures.calls += 1
            self.figures.latency_seconds = self._monotonic() - began
            self.figures.answered_at, self.figures.last_error = self._wall_clock(), ""
            return answer
        await self._failed(session, failed)
        raise failed

    async def _failed(self, session: KiteSession, error: KiteError) -> None:
        self.figures.calls += 1
        self.figures.failed += 1
        if error.reason is not KiteReason.SESSION_DEAD:  # of which the session tells
            self.figures.last_error = str(error)
        self._log.warning(
            "kite.call_failed",
            account=session.account,
            call=error.call,
            reason=error.reason.value,
            error=str(error),
        )
        if error.reason is KiteReason.SESSION_DEAD:
            await self.session.refuse(session, error.failure.message)
