"""Isolates brokers from each other: a trader that raises, hangs or can't start concerns its own broker's orders only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

import structlog
from typing_extensions import override

from alphapanda.domain.broker_books import BrokerBooks
from alphapanda.domain.broker_order import BrokerOrder
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.order import Product
from alphapanda.resilience.attempts import attempted, until_it_works
from alphapanda.resilience.backoff import Backoff
from alphapanda.resilience.failures import in_one_line
from alphapanda.trading.core.escalation import Repriced
from alphapanda.trading.core.foreign import DayTrade
from alphapanda.trading.traders.trader import (
    BrokerRefused,
    Cancellation,
    Changed,
    ExecutionMode,
    Modification,
    NoClearAnswer,
    NothingSent,
    Placement,
    Repricing,
    Standing,
    Trader,
)

INITIALIZE_SECONDS: Final = 30.0
"""Time-out of one call of `initialize`; then it is called again."""

SHUTDOWN_SECONDS: Final = 2.0
"""Time-out of `shutdown`."""

START_SECONDS: Final = 2.0
"""How long a start waits for brokers to be initialised; then it goes on without those that aren't."""

_MOST_UNANSWERED: Final = 3
"""Calls without an answer in a row from which a broker is reported."""

T = TypeVar("T")
_log = structlog.get_logger(__name__)


class IsolatedTrader(Trader):
    """A trader whose failures stay its own.

    Each call has a time budget; whatever a call raises, and a call that isn't over in time, is a NoClearAnswer: the broker
    may have executed it. `initialize` is repeated with back-off until it works, and `shutdown` never raises.

    Args:
        trader: the broker's trader.
        call_timeout_seconds: time budget of an order or a look-up.
        initialize_seconds: time budget of one `initialize`.
        backoff: waits between two of them.
        sleep: waits for seconds.
    """

    def __init__(
        self,
        trader: Trader,
        call_timeout_seconds: float,
        initialize_seconds: float = INITIALIZE_SECONDS,
        backoff: Backoff | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.broker = trader.broker
        self.visibility_window = trader.visibility_window
        self.least_look_ups = trader.least_look_ups
        self.forgets_daily = trader.forgets_daily
        self._trader = trader
        self._call_timeout = call_timeout_seconds
        self._initialize_seconds = initialize_seconds
        self._backoff = backoff or Backoff(0.5, 30.0)
        self._sleep = sleep
        self._not_ready = "it is being initialised"
        self._mode = ExecutionMode.OFF
        self._unanswered = 0
        self._last_error = ""

    @property
    @override
    def not_ready(self) -> str:
        return f"broker {self.broker!r} is not ready: {self._not_ready}" if self._not_ready else ""

    @property
    @override
    def tells_of_fills(self) -> bool:
        return self._trader.tells_of_fills

    @override
    def not_ready_for(self, account: str) -> str:
        return self.not_ready or self._trader.not_ready_for(account)

    @override
    def entries_halted(self, account: str) -> str:
        return self._trader.entries_halted(account)

    @override
    def freeze_quantity(self, instrument: Instrument) -> int:
        return self._trader.freeze_quantity(instrument)

    @property
    @override
    def problem(self) -> str:
        """What is wrong with the broker now, in one line; empty where nothing is known to be."""
        if self._not_ready:
            return self.not_ready
        if self._unanswered < _MOST_UNANSWERED:
            return self._trader.problem
        return f"broker {self.broker!r} did not answer {self._unanswered} calls in a row: {self._last_error}"

    @override
    def get_execution_mode(self) -> ExecutionMode:
        """The trader's mode, as of its initialisation; OFF until then."""
        return self._mode

    @override
    async def initialize(self) -> None:
        """Initialises the trader; repeats it with back-off until it works."""

        async def wait(error: Exception, failures: int) -> None:
            text = in_one_line(error) if str(error) else f"no answer within {self._initialize_seconds:g} s"
            self._not_ready = f"its start failed {failures} times and is tried again: {text}"
            _log.error(
                "broker.initialization_failed",
                alarm=failures == 1,
                broker=self.broker,
                error=text,
                attempts=failures,
            )
            await self._sleep(self._backoff.seconds(failures))

        async def once() -> None:
            await asyncio.wait_for(self._trader.initialize(), self._initialize_seconds)
            self._mode = self._trader.get_execution_mode()

        await until_it_works(once, wait, passes=lambda _: True)
        self._not_ready = ""
        _log.info("broker.initialized", broker=self.broker, mode=self._mode.value)

    @override
    async def shutdown(self) -> None:
        """Shuts the trader down; a failure is logged."""
        self._not_ready = "it was shut down"
        if error := await attempted(asyncio.wait_for(self._trader.shutdown(), SHUTDOWN_SECONDS)):
            _log.error("broker.shutdown_failed", broker=self.broker, error=in_one_line(error))

    @override
    async def execute_order(self, placement: Placement) -> BrokerOrder:
        return await self._answer(partial(self._trader.execute_order, placement))

    @override
    async def look_up(self, account: str, tag: str) -> BrokerOrder | None:
        return await self._answer(partial(self._trader.look_up, account, tag))

    @override
    async def modify_order(self, modification: Modification) -> BrokerOrder:
        return await self._answer(partial(self._trader.modify_order, modification))

    @override
    async def cancel_order(self, cancellation: Cancellation) -> BrokerOrder:
        return await self._answer(partial(self._trader.cancel_order, cancellation))

    @override
    def follow(self, changed: Changed) -> None:
        self._trader.follow(changed)

    @override
    async def reprice(self, repricing: Repricing) -> Repriced | None:
        return await self._answer(partial(self._trader.reprice, repricing))

    @override
    async def day_trades(self) -> Sequence[DayTrade]:
        return await self._answer(self._trader.day_trades)

    @override
    async def standing(self, account: str, wanted: Collection[tuple[Instrument, Product]]) -> Standing | None:
        return await self._answer(partial(self._trader.standing, account, wanted))

    @override
    async def books(self) -> BrokerBooks | None:
        return await self._answer(self._trader.books)

    async def _answer(self, call: Callable[[], Awaitable[T]]) -> T:
        """Returns the answer to a call of the trader.

        Raises:
            BrokerRefused: the broker refused it, which is an answer.
            NoClearAnswer: the call failed or took too long.
            NothingSent: what the trader says.
        """
        answers: list[T] = []

        async def within() -> None:
            try:
                async with asyncio.timeout(self._call_timeout):
                    answers.append(await call())
            except asyncio.CancelledError as cancelled:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise  # this process cuts the call off; otherwise it is the trader's own doing
                raise NoClearAnswer("the call was cancelled within the trader") from cancelled

        error = await attempted(within())
        if error is None or isinstance(error, BrokerRefused):
            self._unanswered = 0
            if error is not None:
                raise error
            return answers[0]
        if isinstance(error, NothingSent):
            raise error
        self._unanswered += 1
        if isinstance(error, NoClearAnswer):
            self._last_error = in_one_line(error)
            raise error
        if isinstance(error, TimeoutError) and not str(error):
            self._last_error = f"no answer within {self._call_timeout:g} s"
        else:
            self._failed(error)
        raise NoClearAnswer(self._last_error) from error

    def _failed(self, error: Exception) -> None:
        """Logs a bug of the trader, once for each different one in a row."""
        text = in_one_line(error)
        if text != self._last_error:
            _log.error("broker.call_failed", alarm=True, broker=self.broker, error=text, exc_info=error)
        self._last_error = text


class IsolatedTraders:
    """The traders of a process: starts them concurrently and shuts them down, each apart from the others.

    Args:
        traders: one for each active broker, by name.
        call_timeout_seconds: time budget of an order or a look-up.
        start_seconds: how long `start` waits for them.

    Attributes:
        name: name in log lines and in the service's status.
        by_broker: the isolated traders, by broker.
    """

    name = "brokers"

    def __init__(
        self,
        traders: Mapping[str, Trader],
        call_timeout_seconds: float,
        start_seconds: float = START_SECONDS,
    ) -> None:
        self.by_broker = {
            broker: IsolatedTrader(trader, call_timeout_seconds) for broker, trader in traders.items()
        }
        self._start_seconds = start_seconds
        self._starting: Sequence[asyncio.Task[None]] = ()

    @property
    def degradation(self) -> str:
        """The brokers that have a problem, in one line; empty where none has."""
        return "; ".join(filter(None, (trader.problem for trader in self.by_broker.values())))

    async def start(self) -> None:
        """Starts to initialise all brokers; returns once they are, or after `start_seconds` with the rest going on."""
        self._starting = [
            asyncio.create_task(trader.initialize(), name=f"initialize {broker}")
            for broker, trader in self.by_broker.items()
        ]
        if self._starting:
            await asyncio.wait(self._starting, timeout=self._start_seconds)

    async def stop(self) -> None:
        """Shuts all brokers down, those too that aren't initialised."""
        for task in self._starting:
            task.cancel()
        if self._starting:
            await asyncio.wait(self._starting, timeout=SHUTDOWN_SECONDS)
        self._starting = ()
        await asyncio.gather(*(trader.shutdown() for trader in self.by_broker.values()))
