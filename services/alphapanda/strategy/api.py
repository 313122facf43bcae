"""StrategyService: create, ask, start, stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import grpc
from typing_extensions import override

from alphapanda.domain import ids
from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.order import Product
from alphapanda.mesh.caller import current_caller
from alphapanda.mesh.errors import AlreadyExists, NotFound
from alphapanda.mesh.paging import decode_page_token, encode_page_token
from alphapanda.storage.requests import CommandKey
from alphapanda.strategy.core.config import StrategyConfig, StrategyInstrument, StrategyState
from alphapanda.strategy.core.registry import StrategyRegistry
from alphapanda.strategy.store.port import Change, Decide, StoredStrategy, StrategyStore
from alphapanda.strategy.wire import SOURCE, changed_event, strategy_message
from panda.strategy.v1 import strategy_pb2 as api
from panda.strategy.v1 import strategy_pb2_grpc

POSITIONS_STAY = "stopped; its open positions stay as they are"
DEFAULT_PAGE = 100
_METHOD = "panda.strategy.v1.StrategyService/"

Context = grpc.aio.ServicerContext[Any, Any]


class StrategyServicer(strategy_pb2_grpc.StrategyServiceServicer):
    """The service over its store.

    Args:
        store: strategy's store.
        registry: the types there are.
        directory: the instruments there are.
        active_brokers: brokers that a strategy may opt in to.
        account: the account where a request names none.
        signal_ttl_seconds: the same for the time its signals stay valid.
        wall_clock: wall time, aware.
    """

    def __init__(
        self,
        store: StrategyStore,
        registry: StrategyRegistry,
        directory: InstrumentDirectory,
        active_brokers: Sequence[str],
        account: str,
        signal_ttl_seconds: int,
        wall_clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._registry = registry
        self._directory = directory
        self._active_brokers = tuple(active_brokers)
        self._account = account
        self._signal_ttl_seconds = signal_ttl_seconds
        self._wall_clock = wall_clock

    @override
    async def CreateStrategy(
        self, request: api.CreateStrategyRequest, context: Context
    ) -> api.CreateStrategyResponse:
        """Creates a strategy, stopped, at revision 1."""
        key = _key("CreateStrategy", request.request_id)
        config = self._config(request)

        def decide(stored: StoredStrategy | None) -> Change:
            if stored is not None:
                raise AlreadyExists(
                    "STRATEGY_EXISTS",
                    f"strategy {config.strategy_id!r} exists already; choose another strategy_id",
                    strategy_id=config.strategy_id,
                )
            return self._change(key, config, note="")

        answer = await self._store.command(
            key,
            request,
            config.strategy_id,
            decide,
            lambda stored: api.CreateStrategyResponse(strategy=strategy_message(stored)),
        )
        return api.CreateStrategyResponse.FromString(answer)

    @override
    async def GetStrategy(self, request: api.GetStrategyRequest, context: Context) -> api.GetStrategyResponse:
        """One strategy."""
        stored = _existing(await self._store.get(request.strategy_id), request.strategy_id)
        return api.GetStrategyResponse(strategy=strategy_message(stored))

    @override
    async def ListStrategies(
        self, request: api.ListStrategiesRequest, context: Context
    ) -> api.ListStrategiesResponse:
        """Strategies by name, a page at a time."""
        filters = f"strategies {request.state}"
        position = decode_page_token(request.page_token, filters)
        size = request.page_size or DEFAULT_PAGE
        state = StrategyState(request.state) if request.state else None
        found = await self._store.page(state, str(position[0]) if position else "", size + 1)
        token = encode_page_token([found[size - 1].config.strategy_id], filters) if len(found) > size else ""
        return api.ListStrategiesResponse(
            strategies=[strategy_message(each) for each in found[:size]], next_page_token=token
        )

    @override
    async def StartStrategy(
        self, request: api.StartStrategyRequest, context: Context
    ) -> api.StartStrategyResponse:
        """Starts a strategy; its state begins anew."""
        key = _key("StartStrategy", request.request_id)
        answer = await self._store.command(
            key,
            request,
            request.strategy_id,
            self._switch(key, request.strategy_id, StrategyState.RUNNING, note=""),
            lambda stored: api.StartStrategyResponse(strategy=strategy_message(stored)),
        )
        return api.StartStrategyResponse.FromString(answer)

    @override
    async def StopStrategy(
        self, request: api.StopStrategyRequest, context: Context
    ) -> api.StopStrategyResponse:
        """Stops a strategy; its positions stay as they are, and the note says so."""
        key = _key("StopStrategy", request.request_id)
        answer = await self._store.command(
            key,
            request,
            request.strategy_id,
            self._switch(key, request.strategy_id, StrategyState.STOPPED, note=POSITIONS_STAY),
            lambda stored: api.StopStrategyResponse(strategy=strategy_message(stored)),
        )
        return api.StopStrategyResponse.FromString(answer)

    def _switch(self, key: CommandKey, strategy_id: str, state: StrategyState, note: str) -> Decide:
        def decide(stored: StoredStrategy | None) -> Change | None:
            config = _existing(stored, strategy_id).config
            if config.state is state:
                return None
            return self._change(key, replace(config, state=state, revision=config.revision + 1), note)

        return decide

    def _change(self, key: CommandKey, config: StrategyConfig, note: str) -> Change:
        command_id = ids.command_id(key.caller, key.method, key.request_id)
        strategy = StoredStrategy(config, note, key.caller, self._wall_clock())
        event = changed_event(
            strategy,
            event_id=ids.output_id(SOURCE, command_id, "strategy_changed"),
            correlation_id=command_id,
            causation_id=command_id,
        )
        return Change(strategy, event)

    def _config(self, request: api.CreateStrategyRequest) -> StrategyConfig:
        """The configuration asked for.

        Raises:
            InvalidInput: the first field that can't be used.
        """
        for broker in request.brokers:
            if broker not in self._active_brokers:
                raise UnknownName("brokers", broker, self._active_brokers)
        return StrategyConfig(
            strategy_id=request.strategy_id,
            revision=1,
            state=StrategyState.STOPPED,
            strategy_type=request.strategy_type,
            parameters=self._registry.complete(request.strategy_type, request.parameters),
            instruments=tuple(
                self._instrument(f"symbols[{place}]", symbol, request.quantity)
                for place, symbol in enumerate(request.symbols)
            ),
            brokers=tuple(request.brokers),
            account=request.account or self._account,
            quantity=request.quantity,
            product=Product(request.product or Product.MIS),
            signal_ttl_seconds=request.signal_ttl_seconds or self._signal_ttl_seconds,
        )

    def _instrument(self, field: str, symbol: str, quantity: int) -> StrategyInstrument:
        instrument = self._directory.require_symbol(symbol, field)
        if not instrument.tradable:
            raise InvalidInput(field, symbol, "an instrument that can be traded; an index can't")
        if quantity % instrument.lot_size:
            raise InvalidInput("quantity", quantity, f"a multiple of {symbol}'s lot, {instrument.lot_size}")
        return StrategyInstrument(instrument.instrument_id, instrument.instrument_token)


def _key(method: str, request_id: str) -> CommandKey:
    return CommandKey(current_caller.get(), _METHOD + method, request_id)


def _existing(stored: StoredStrategy | None, strategy_id: str) -> StoredStrategy:
    if stored is None:
        raise NotFound(
            "STRATEGY_NOT_FOUND",
            f"there is no strategy {strategy_id!r}; ListStrategies names them",
            strategy_id=strategy_id,
        )
    return stored
