"""Strategy types by name. A new type is one file and one line here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.strategy.core.dip_buyer import DipBuyer
from alphapanda.strategy.core.ema_cross import EmaCross
from alphapanda.strategy.core.mean_reversion import MeanReversion
from alphapanda.strategy.core.momentum import Momentum
from alphapanda.strategy.core.opening_range_breakout import OpeningRangeBreakout
from alphapanda.strategy.core.pairs import Pairs
from alphapanda.strategy.core.rsi import Rsi
from alphapanda.strategy.core.sma_cross import SmaCross
from alphapanda.strategy.core.strategy import Strategy, StrategyParameters
from alphapanda.strategy.core.vwap_reversion import VwapReversion

SHIPPED: tuple[type[Strategy[Any]], ...] = (
    EmaCross,
    SmaCross,
    Momentum,
    MeanReversion,
    Rsi,
    OpeningRangeBreakout,
    VwapReversion,
    Pairs,
    DipBuyer,
)


class StrategyRegistry:
    """The strategy types by name.

    Args:
        types: the types; by default the shipped ones.

    Raises:
        ValueError: two types have the same name.
    """

    def __init__(self, types: Iterable[type[Strategy[Any]]] = SHIPPED) -> None:
        self._types: dict[str, type[Strategy[Any]]] = {}
        for strategy_type in types:
            if strategy_type.type_name in self._types:
                raise ValueError(f"two strategy types are named {strategy_type.type_name!r}")
            self._types[strategy_type.type_name] = strategy_type

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all types, sorted."""
        return tuple(sorted(self._types))

    def type_named(self, name: str) -> type[Strategy[Any]]:
        """The type with this name.

        Raises:
            UnknownName: there is no such type; the error suggests the nearest name.
        """
        found = self._types.get(name)
        if found is None:
            raise UnknownName("strategy_type", name, self._types)
        return found

    def parameters(self, name: str, parameters: Mapping[str, str]) -> StrategyParameters:
        """Parses and checks a type's parameters from text; absent ones get their defaults.

        Raises:
            UnknownName: no such type, or no such parameter.
            InvalidInput: a value is not allowed; the field is `parameters.NAME`.
        """
        model = self.type_named(name).parameters_model
        for given in parameters:
            if given not in model.model_fields:
                raise UnknownName("parameters", given, model.model_fields)
        try:
            return model.model_validate(dict(parameters))
        except ValidationError as error:
            raise _invalid(error.errors()[0], model) from None

    def complete(self, name: str, parameters: Mapping[str, str]) -> dict[str, str]:
        """All parameters as text, with defaults filled in; raises as `parameters` does."""
        return {
            field: str(value)
            for field, value in self.parameters(name, parameters).model_dump(mode="json").items()
        }


def _invalid(error: ErrorDetails, model: type[StrategyParameters]) -> InvalidInput:
    raised = error.get("ctx", {}).get("error")
    if isinstance(raised, InvalidInput):
        return raised
    if not error["loc"]:
        return InvalidInput("parameters", error["input"], error["msg"])
    name = str(error["loc"][0])
    schema = model.model_json_schema()["properties"][name]
    return InvalidInput(f"parameters.{name}", error["input"], _allowed(schema))


def _allowed(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return f"allowed: {', '.join(map(str, schema['enum']))} ({schema['description']})"
    kind = {"integer": "a whole number", "number": "a number", "boolean": "true or false"}.get(
        str(schema.get("type")), "a text"
    )
    bounds = (("minimum", "at least"), ("exclusiveMinimum", "more than"), ("maximum", "at most"))
    limits = [
        f"{words} {schema[key]}"
        for key, words in (*bounds, ("exclusiveMaximum", "less than"))
        if key in schema
    ]
    described = f" ({schema['description']})" if "description" in schema else ""
    return f"allowed: {' '.join([kind, ' and '.join(limits)]).strip()}{described}"
