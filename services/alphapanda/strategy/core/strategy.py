"""What a strategy is: parameters, a state per instrument, and a wish now and then."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue


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


P = TypeVar("P", bound=StrategyParameters)


class Strategy(ABC, Generic[P]):
    """One strategy on one instrument; what it remembers of the instrument is its state.

    A subclass is a type: it names itself and its parameters, and is built once for each instrument with the
    parameters checked. It reads nothing but its arguments: the same ticks give the same wishes (rule 11).

    Attributes:
        type_name: name it registers under, such as "ema_cross".
        parameters_model: its parameters.
        outside_sessions: True where it asks for ticks outside the exchange's sessions too.
    """

    __slots__ = ()

    type_name: ClassVar[str]
    parameters_model: ClassVar[type[StrategyParameters]]
    outside_sessions: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, parameters: P) -> None:
        """Starts without memory; `parameters` is one of `parameters_model`."""

    @abstractmethod
    def on_tick(self, price: float, time_ns: int) -> Wish | None:
        """A tick: rupees, and exchange time in nanoseconds since the epoch. None leaves things as they are."""

    @abstractmethod
    def state(self) -> JsonValue:
        """All that it remembers. JSON keeps floats exact, so restoring it changes no later wish."""

    @abstractmethod
    def restore(self, state: JsonValue) -> None:
        """Takes up what `state` gave under the same parameters."""
