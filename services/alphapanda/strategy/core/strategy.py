"""The interface of a strategy: parameters, a state per instrument, and targets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, final

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from typing_extensions import override

from alphapanda.strategy.core.bars import Bar, Interval
from alphapanda.strategy.core.holdings import Context


class Stance(IntEnum):
    """Long, flat or short; times the configured quantity it is the target position."""

    SHORT = -1
    FLAT = 0
    LONG = 1


@dataclass(frozen=True, slots=True)
class Target:
    """The position that a strategy wants in the instrument from now on.

    Attributes:
        stance: long, flat or short by the configured quantity; CNC turns short into flat.
        reason: one sentence, at most 500 characters.
    """

    stance: Stance
    reason: str


Wish = Target
"""Target's earlier name, for strategies that import it."""


class StrategyParameters(BaseModel):
    """The parameters of a type: a subclass's fields, each with a default, a range and a description."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BarParameters(StrategyParameters):
    """The parameters of a type that wants bars."""

    interval: Interval = Field("1m", description="length of a bar")


P = TypeVar("P", bound=StrategyParameters)
B = TypeVar("B", bound=BarParameters)


class _NotAsked:
    """The context of a strategy that doesn't set `wants_position`: reading it is an error."""

    def __get__(self, strategy: object, owner: type[Any]) -> Context:
        raise AttributeError(
            f"{owner.__name__} has to say wants_position = True to read its context in a handler"
        )


class Strategy(ABC, Generic[P]):
    """One strategy on one instrument, with a state of its own.

    A subclass is a type: it names itself and its parameters, and is built once for each instrument with the
    parameters checked. It reads nothing but its arguments: the same ticks give the same targets (rule 11). One on bars
    is a BarStrategy.

    Attributes:
        type_name: name under which it is registered, such as "ema_cross".
        parameters_model: its parameters.
        outside_sessions: True where it wants ticks outside the exchange's sessions too.
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
        """Starts with an empty state; `parameters` is one of `parameters_model`."""

    @abstractmethod
    def on_tick(self, price: float, time_ns: int) -> Target | None:
        """Handles a tick: rupees, and exchange time in nanoseconds since the epoch. None keeps the target as it is."""

    def on_ticks(self, prices: Sequence[float], times_ns: Sequence[int]) -> list[tuple[int, Target]]:
        """Many ticks at once: what `on_tick` would wish of each of them in turn, as (index, wish).

        A type that can say so faster overrides it, and a replay then asks it rather than `on_tick`; the wishes and
        the state afterwards have to be the same to the last bit. Never asked of one that reads its position.
        """
        raise NotImplementedError

    @classmethod
    def warm_up(cls, parameters: Any) -> int:  # noqa: ARG003 - for those that override it
        """Ticks, or bars, that it needs before its first target; earlier ones are read from the log."""
        return 0

    def still_needs(self) -> int:
        """Ticks that it still needs before its first target. For a strategy on bars the host counts them."""
        return 0

    def state(self) -> JsonValue:
        """Its whole state. JSON keeps floats exact, so restoring it changes no later target.

        By default all attributes except parameters: numbers, texts, lists, deques and dictionaries with text keys.
        """
        return {
            name: list(value) if isinstance(value, deque) else value
            for name, value in vars(self).items()
            if not isinstance(value, StrategyParameters | Context)
        }

    def restore(self, state: JsonValue) -> None:
        """Restores what `state` returned under the same parameters."""
        if not isinstance(state, dict):
            raise TypeError(f"{state!r} is not what its state returned")
        for name, value in state.items():
            held = getattr(self, name, None)
            setattr(self, name, deque(value, held.maxlen) if isinstance(held, deque) else value)  # type: ignore[arg-type]


class BarStrategy(Strategy[B]):
    """A strategy on closed bars of the interval in its parameters.

    It may return a target at each bar: a signal is made where the stance differs from the one before, and at the first of
    a day. Targets of the first `warm_up` bars, except the last of them, are ignored. A target at a session's end becomes a
    signal with the next session's first tick.
    """

    __slots__ = ()

    @abstractmethod
    def on_bar(self, bar: Bar) -> Target | None:
        """Handles a closed bar. None keeps the target as it is."""

    @final
    @override
    def on_tick(self, price: float, time_ns: int) -> Target | None:
        """Never called."""
        return None
