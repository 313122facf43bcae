"""The interface of a strategy: parameters, handlers of ticks or bars, targets, state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar, final

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from typing_extensions import override

from alphapanda.strategy.core.bars import Bar, Interval
from alphapanda.strategy.core.holdings import Context
from alphapanda.strategy.core.pricing import At, Protect


class Stance(IntEnum):
    """Long, flat or short; the target position is the stance times the configured quantity."""

    SHORT = -1
    FLAT = 0
    LONG = 1


@dataclass(frozen=True, slots=True)
class Target:
    """The position that a strategy wants to hold in the instrument from now on.

    Attributes:
        stance: long, flat or short by the configured quantity; with product CNC short means flat.
        reason: one sentence, at most 500 characters.
        at: the price at which it is to be reached; None: at the market's.
        protect: exits that stand by for what it opens; None: none.
    """

    stance: Stance
    reason: str
    at: At | None = None
    protect: Protect | None = None


Wish = Target
"""The earlier name of Target, for strategies that import it."""


class StrategyParameters(BaseModel):
    """Base class of a type's parameters: fields with a default, a range and a description."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BarParameters(StrategyParameters):
    """Base class of the parameters of a type on bars."""

    interval: Interval = Field("1m", description="length of a bar")


IntradayInterval = Literal[
    "1s", "5s", "10s", "15s", "30s", "1m", "2m", "3m", "5m", "10m", "15m", "30m", "1h", "75m", "2h", "125m"
]
"""The intervals shorter than a day."""


class IntradayBarParameters(BarParameters):
    """Base class of the parameters of a type whose state is the day's: at the only bar of a day, the day is over."""

    interval: IntradayInterval = Field("1m", description="length of a bar, less than a day")


P = TypeVar("P", bound=StrategyParameters)
B = TypeVar("B", bound=BarParameters)


class _NoContext:
    """The context of a strategy that the platform hasn't built, as in a test: reading it is an error."""

    def __get__(self, strategy: object, owner: type[Any]) -> Context:
        raise AttributeError(
            f"{owner.__name__} has no context: handlers may read it, __init__ may not, and a test has to set one"
        )


class Strategy(ABC, Generic[P]):
    """A strategy on ticks, on one instrument.

    A subclass is a strategy type. It is built once for each instrument, with checked parameters. It must be
    deterministic: it reads only its arguments and its context, so that the same ticks make the same targets. A type on
    bars subclasses BarStrategy instead.

    Attributes:
        type_name: name of the type, such as "ema_cross".
        parameters_model: class of its parameters.
        outside_sessions: True if it gets ticks outside the exchange's sessions, too.
        wants_position: True if it reads its position or its open orders.
        carries_over_night: False if its state is the day's, as an opening range is: each day then begins without a target
            of the day before.
        context: symbol, lot and tick size of the instrument; position and open orders if `wants_position` is True, flat and
            empty during the warm-up. To be read in handlers.
    """

    __slots__ = ()

    type_name: ClassVar[str]
    parameters_model: ClassVar[type[StrategyParameters]]
    outside_sessions: ClassVar[bool] = False
    wants_position: ClassVar[bool] = False
    carries_over_night: ClassVar[bool] = True
    if TYPE_CHECKING:
        context: Context
    else:
        context = _NoContext()

    @abstractmethod
    def __init__(self, parameters: P) -> None:
        """Starts with an empty state; `parameters` is an instance of `parameters_model`."""

    @abstractmethod
    def on_tick(self, price: float, time_ns: int) -> Target | None:
        """Handles a tick: price in rupees, exchange time in nanoseconds since the epoch. None keeps the target as it is."""

    def on_ticks(self, prices: Sequence[float], times_ns: Sequence[int]) -> list[tuple[int, Target]]:
        """Handles many ticks at once; returns (index, target) of each tick at which `on_tick` would return a target.

        Optional: a type may override it to be faster, and a replay then calls it instead of `on_tick`. The targets and the
        state afterwards must be the same to the last bit. It isn't called for a type that reads its position.
        """
        raise NotImplementedError

    @classmethod
    def interval_of(cls, parameters: Any) -> str | None:  # noqa: ARG003 - for those that override it
        """The interval of the bars that its `on_bar` gets with these parameters; None: its `on_tick` gets ticks."""
        return None

    @classmethod
    def warm_up(cls, parameters: Any) -> int:  # noqa: ARG003 - for those that override it
        """The number of ticks (or bars) that it needs before its first target; they are read from the log."""
        return 0

    def still_needs(self) -> int:
        """The number of ticks that it still needs before its first target. Not used for strategies on bars."""
        return 0

    def state(self) -> JsonValue:
        """The whole state, as JSON. JSON keeps floats exact, so restoring it changes no later target.

        By default all attributes except parameters: numbers, texts, lists, deques and dictionaries with text keys.
        """
        return {
            name: list(value) if isinstance(value, deque) else value
            for name, value in vars(self).items()
            if name != "context" and not isinstance(value, StrategyParameters | Context)
        }

    def restore(self, state: JsonValue) -> None:
        """Restores what `state` returned under the same parameters."""
        if not isinstance(state, dict):
            raise TypeError(f"{state!r} is not what its state returned")
        for name, value in state.items():
            held = getattr(self, name, None)
            setattr(self, name, deque(value, held.maxlen) if isinstance(held, deque) else value)  # type: ignore[arg-type]


class BarStrategy(Strategy[B]):
    """A strategy on closed bars, on one instrument; the interval is one of its parameters.

    It may return a target at each bar: a signal is made if its stance or its `at` differs from the one before, and at the first
    target of a day. Targets of the first `warm_up` bars, except the last of them, are ignored. A target at the end of a session
    becomes a signal at the first tick of the next session: of the next day only if type and product carry over night.
    """

    __slots__ = ()

    @abstractmethod
    def on_bar(self, bar: Bar) -> Target | None:
        """Handles a closed bar. None keeps the target as it is."""

    @classmethod
    @override
    def interval_of(cls, parameters: Any) -> str | None:
        """The parameter `interval`."""
        return str(parameters.interval)

    @final
    @override
    def on_tick(self, price: float, time_ns: int) -> Target | None:
        """Is never called: a strategy on bars gets no ticks."""
        return None
