"""What a strategy is: parameters, a state per instrument, and a wish now and then."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, final

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from typing_extensions import override

from alphapanda.strategy.core.bars import Bar, Interval
from alphapanda.strategy.core.holdings import Context


class Stance(IntEnum):
    """Which way to stand; times the configured quantity it is the target position."""

    SHORT = -1
    FLAT = 0
    LONG = 1


@dataclass(frozen=True, slots=True)
class Wish:
    """What a strategy wants to hold of the instrument from now on.

    Attributes:
        stance: long, flat or short by the configured quantity; CNC turns short into flat.
        reason: one sentence, at most 500 characters.
    """

    stance: Stance
    reason: str


class StrategyParameters(BaseModel):
    """The parameters of a type: a subclass's fields, each with a default, a range and a description."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BarParameters(StrategyParameters):
    """The parameters of a type that wants bars."""

    interval: Interval = Field("1m", description="length of a bar")


P = TypeVar("P", bound=StrategyParameters)
B = TypeVar("B", bound=BarParameters)


class _NotAsked:
    """Stands where a strategy that didn't ask for it looks for its context."""

    def __get__(self, strategy: object, owner: type[Any]) -> Context:
        raise AttributeError(
            f"{owner.__name__} has to say wants_position = True to read its context in a handler"
        )


class Strategy(ABC, Generic[P]):
    """One strategy on one instrument; what it remembers of the instrument is its state.

    A subclass is a type: it names itself and its parameters, and is built once for each instrument with the
    parameters checked. It reads nothing but its arguments: the same ticks give the same wishes (rule 11). One that
    wants bars is a BarStrategy.

    Attributes:
        type_name: name it registers under, such as "ema_cross".
        parameters_model: its parameters.
        outside_sessions: True where it asks for ticks outside the exchange's sessions too.
        wants_position: True where it reads `context`.
        context: its position and open orders on the instrument, in handlers; during warm-up flat, and none.
    """

    __slots__ = ()

    type_name: ClassVar[str]
    parameters_model: ClassVar[type[StrategyParameters]]
    outside_sessions: ClassVar[bool] = False
    wants_position: ClassVar[bool] = False
    if TYPE_CHECKING:
        context: Context
    else:
        context = _NotAsked()

    @abstractmethod
    def __init__(self, parameters: P) -> None:
        """Starts without memory; `parameters` is one of `parameters_model`."""

    @abstractmethod
    def on_tick(self, price: float, time_ns: int) -> Wish | None:
        """A tick: rupees, and exchange time in nanoseconds since the epoch. None leaves things as they are."""

    @classmethod
    def warm_up(cls, parameters: Any) -> int:  # noqa: ARG003 - for those that override it
        """How many ticks, or bars, it has to have seen before it can wish anything; the log's last ones count."""
        return 0

    def still_needs(self) -> int:
        """How many ticks it has to see yet before it can wish anything. Those of bars are counted for it."""
        return 0

    def state(self) -> JsonValue:
        """All that it remembers. JSON keeps floats exact, so restoring it changes no later wish.

        By default its attributes, but for parameters: numbers, texts, lists, deques and dictionaries with text keys.
        """
        return {
            name: list(value) if isinstance(value, deque) else value
            for name, value in vars(self).items()
            if not isinstance(value, StrategyParameters | Context)
        }

    def restore(self, state: JsonValue) -> None:
        """Takes up what `state` gave under the same parameters."""
        if not isinstance(state, dict):
            raise TypeError(f"{state!r} is not what its state gave")
        for name, value in state.items():
            held = getattr(self, name, None)
            setattr(self, name, deque(value, held.maxlen) if isinstance(held, deque) else value)  # type: ignore[arg-type]


class BarStrategy(Strategy[B]):
    """A strategy that is shown closed bars of the interval its parameters name.

    It may say at each bar what it wants: only a stance that differs from the one before makes a signal, or one of a
    new day. The first `warm_up` bars but one are shown without its wishes counting. What it wishes at a session's end
    becomes a signal with the next session's first tick.
    """

    __slots__ = ()

    @abstractmethod
    def on_bar(self, bar: Bar) -> Wish | None:
        """A bar has closed. None leaves things as they are."""

    @final
    @override
    def on_tick(self, price: float, time_ns: int) -> Wish | None:
        """Never asked."""
        return None
