"""Makes strategies' configurations from requests, and checks them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Final

from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.order import Product
from alphapanda.domain.signal import FOREIGN
from alphapanda.domain.size import size_text
from alphapanda.strategy.core.basket import BasketStrategy, require_together
from alphapanda.strategy.core.config import Flattening, StrategyConfig, StrategyInstrument, StrategyState
from alphapanda.strategy.core.registry import StrategyRegistry
from panda.strategy.v1 import strategy_pb2 as api

_PARAMETER: Final = "parameters."
_PATHS: Final = ("parameters", "symbols", "brokers", "quantity", "size", "product", "signal_ttl_seconds")
_FIXED: Final = {
    "account": "other fields: its positions are booked on its account; create another strategy for another one",
    "strategy_type": "other fields: a strategy keeps its type; create another strategy for another one",
    "strategy_id": "other fields: its positions are booked under its name; create another strategy",
}
NO_QUANTITY: Final = "must be greater than 0; or give size, such as 10% or 50000INR"
_MAX_SYMBOLS: Final = 500
_MAX_QUANTITY: Final = 10_000_000
_MAX_SECONDS: Final = 86_400


class Configurations:
    """Makes and changes configurations.

    Args:
        registry: the strategy types.
        directory: the instruments.
        active_brokers: brokers that a strategy may opt in to.
        account: the account if a request names none.
        signal_ttl_seconds: the validity of signals if a request gives none.
        live_brokers: those of the brokers whose orders reach a real exchange.
    """

    def __init__(
        self,
        registry: StrategyRegistry,
        directory: InstrumentDirectory,
        active_brokers: Sequence[str],
        account: str,
        signal_ttl_seconds: int,
        live_brokers: Collection[str] = (),
    ) -> None:
        self._registry = registry
        self._directory = directory
        self._active_brokers = tuple(active_brokers)
        self._account = account
        self._signal_ttl_seconds = signal_ttl_seconds
        self._live_brokers = frozenset(live_brokers)

    def created(self, request: api.CreateStrategyRequest) -> StrategyConfig:
        """The requested configuration, stopped, at revision 1.

        Raises:
            InvalidInput: a field can't be used; the error names the first one.
        """
        if request.strategy_id == FOREIGN:
            raise InvalidInput(
                "strategy_id", FOREIGN, "another name: what is traded elsewhere is booked under it"
            )
        quantity, size = _quantity_and_size("", request.quantity, request.size)
        return StrategyConfig(
            strategy_id=request.strategy_id,
            revision=1,
            state=StrategyState.STOPPED,
            strategy_type=request.strategy_type,
            parameters=self._registry.complete(request.strategy_type, request.parameters),
            instruments=self._together(
                request.strategy_type, "", self._instruments("", request.symbols, 0 if size else quantity)
            ),
            brokers=self._brokers("", request.brokers, request.strategy_type),
            account=request.account or self._account,
            quantity=quantity,
            size=size,
            product=Product(request.product or Product.MIS),
            signal_ttl_seconds=request.signal_ttl_seconds or self._signal_ttl_seconds,
        )

    def changed(self, config: StrategyConfig, wanted: api.Strategy, paths: Iterable[str]) -> StrategyConfig:
        """The configuration with the new values at `paths`, at the same revision.

        Raises:
            InvalidInput: a path or value can't be used; the error names the first one.
        """
        asked = _checked_paths(paths)
        config = replace(config, parameters=self._parameters(config, wanted, asked))
        if "quantity" in asked and "size" in asked:
            raise InvalidInput("update_mask", "quantity, size", "one of them")
        if "quantity" in asked:
            quantity = _within("strategy.quantity", wanted.quantity, _MAX_QUANTITY)
            config = replace(config, quantity=quantity, size="")
        if "size" in asked:
            config = replace(config, quantity=1, size=size_text(wanted.size, "strategy.size"))
        if "signal_ttl_seconds" in asked:
            seconds = _within("strategy.signal_ttl_seconds", wanted.signal_ttl_seconds, _MAX_SECONDS)
            config = replace(config, signal_ttl_seconds=seconds)
        if "product" in asked:
            if not wanted.product:
                raise InvalidInput("strategy.product", "UNSPECIFIED", "MIS, CNC or NRML")
            config = replace(config, product=Product(wanted.product))
        if "brokers" in asked:
            config = replace(config, brokers=self._brokers("strategy.", wanted.brokers, config.strategy_type))
        if "symbols" in asked:
            made = self._instruments("strategy.", wanted.symbols, 0 if config.size else config.quantity)
            return replace(config, instruments=self._together(config.strategy_type, "strategy.", made))
        if "quantity" in asked:
            self._instruments("strategy.", [each.symbol for each in config.instruments], config.quantity)
        return config

    def _parameters(
        self, config: StrategyConfig, wanted: api.Strategy, asked: Sequence[str]
    ) -> dict[str, str]:
        parameters = dict(wanted.parameters if "parameters" in asked else config.parameters)
        for path in asked:
            if path.startswith(_PARAMETER):
                name = path.removeprefix(_PARAMETER)
                if name not in wanted.parameters:
                    raise InvalidInput(
                        "update_mask", path, f"give its value in strategy.parameters[{name!r}]"
                    )
                parameters[name] = wanted.parameters[name]
        if not any(path.startswith("parameters") for path in asked):
            return parameters  # so the quantity can be changed even if the type can't be loaded any more
        return self._registry.complete(config.strategy_type, parameters)

    def _brokers(self, prefix: str, brokers: Iterable[str], strategy_type: str) -> tuple[str, ...]:
        for broker in brokers:
            if broker not in self._active_brokers:
                raise UnknownName(f"{prefix}brokers", broker, self._active_brokers)
            if broker in self._live_brokers:
                self._require_single(f"{prefix}brokers", broker, strategy_type)
        return tuple(dict.fromkeys(brokers))

    def _require_single(self, field: str, broker: str, strategy_type: str) -> None:
        """Refuses a type that trades several instruments as one: nothing completes or unwinds the others if an order of one fails."""
        if issubclass(self._registry.type_named(strategy_type), BasketStrategy):
            raise InvalidInput(
                field,
                broker,
                f"paper alone for a strategy of type {strategy_type}: a basket's orders may fail apart",
            )

    def _instruments(
        self, prefix: str, symbols: Sequence[str], quantity: int
    ) -> tuple[StrategyInstrument, ...]:
        if not 0 < len(set(symbols)) == len(symbols) <= _MAX_SYMBOLS:
            raise InvalidInput(
                f"{prefix}symbols", ", ".join(symbols), f"1 to {_MAX_SYMBOLS} symbols, none of them twice"
            )
        return tuple(
            self._instrument(f"{prefix}symbols[{place}]", symbol, f"{prefix}quantity", quantity)
            for place, symbol in enumerate(symbols)
        )

    def _together(
        self, strategy_type: str, prefix: str, instruments: tuple[StrategyInstrument, ...]
    ) -> tuple[StrategyInstrument, ...]:
        """The same instruments, after a check that a type that sees them all can do so."""
        found = [self._directory.require_symbol(each.symbol, f"{prefix}symbols") for each in instruments]
        require_together(self._registry.type_named(strategy_type), found, f"{prefix}symbols")
        return instruments

    def _instrument(self, field: str, symbol: str, quantity_field: str, quantity: int) -> StrategyInstrument:
        instrument = self._directory.require_symbol(symbol, field)
        if not instrument.tradable:
            raise InvalidInput(field, symbol, "an instrument that can be traded; an index can't")
        if quantity % instrument.lot_size:
            raise InvalidInput(
                quantity_field, quantity, f"a multiple of {symbol}'s lot, {instrument.lot_size}"
            )
        return StrategyInstrument(instrument.instrument_id, instrument.instrument_token)


def flattened(before: StrategyConfig, after: StrategyConfig) -> StrategyConfig:
    """The configuration `after`, which closes the positions of `before` when it takes effect.

    Raises:
        InvalidInput: `after` drops a broker; no order can close the positions there any more.
    """
    gone = sorted(set(before.brokers) - set(after.brokers))
    if gone:
        raise InvalidInput(
            "open_position",
            "FLATTEN",
            f"KEEP where a broker ({', '.join(gone)}) is taken away; flatten first",
        )
    held = before.instruments
    if before.flattens is not None and before.flattens.product is before.product:
        # That flattening may not have taken effect yet. If it has, its positions are flat and the signals do nothing.
        held = tuple(dict.fromkeys((*held, *before.flattens.instruments)))
    return replace(after, flattens=Flattening(after.revision, held, before.product))


def _checked_paths(paths: Iterable[str]) -> list[str]:
    asked = list(paths)
    if not asked:
        raise InvalidInput("update_mask", "", f"name what to change: {', '.join(_PATHS)}")
    for path in asked:
        if path in _FIXED:
            raise InvalidInput("update_mask", path, _FIXED[path])
        if path not in _PATHS and not path.startswith(_PARAMETER):
            raise UnknownName("update_mask", path, [*_PATHS, "parameters.NAME"])
    return asked


def _quantity_and_size(prefix: str, quantity: int, size: str) -> tuple[int, str]:
    """Units and size of a full position, of which a request has one; with a size, 1 unit."""
    if size and quantity:
        raise InvalidInput(f"{prefix}size", size, "nothing where quantity is given")
    if size:
        return 1, size_text(size, f"{prefix}size")
    if not quantity:
        raise InvalidInput(f"{prefix}quantity", quantity, NO_QUANTITY)
    return quantity, ""


def _within(field: str, value: int, most: int) -> int:
    if not 1 <= value <= most:
        raise InvalidInput(field, value, f"1 to {most}")
    return value
