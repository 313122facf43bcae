"""StrategyService: creates, reads, changes, starts, stops and deletes strategies."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

import grpc
from typing_extensions import override

from alphapanda.domain import ids
from alphapanda.domain.errors import nearest
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.mesh.caller import current_caller
from alphapanda.mesh.errors import AlreadyExists, FailedPrecondition, NotFound
from alphapanda.mesh.paging import decode_page_token, encode_page_token
from alphapanda.mesh.recording import record_change
from alphapanda.storage.requests import CommandKey
from alphapanda.strategy.configurations import Configurations, flattened
from alphapanda.strategy.core.config import StrategyConfig, StrategyState
from alphapanda.strategy.core.registry import StrategyRegistry
from alphapanda.strategy.store.port import Answer, Change, Decide, StoredStrategy, StrategyStore
from alphapanda.strategy.wire import SOURCE, changed_event, strategy_message, type_message
from alphapanda.telemetry.correlation import current_correlation_id
from panda.strategy.v1 import strategy_pb2 as api
from panda.strategy.v1 import strategy_pb2_grpc

POSITIONS_STAY = "stopped; its open positions stay as they are"
UPDATED_POSITIONS_STAY = "updated; its open positions stay as they are"
UPDATED_AND_FLATTENED = (
    "updated; with the next frame of market data a signal to hold nothing goes out for each instrument it had"
)
DELETED_POSITIONS_STAY = "deleted; its open positions stay as they are"
DEFAULT_PAGE = 100
MOST_STRATEGIES = 10_000
MOST_COMPARED = 1_000
"""Names among which the one most similar to an unknown name is looked for."""
_METHOD = "panda.strategy.v1.StrategyService/"

Context = grpc.aio.ServicerContext[Any, Any]
_OfStrategy = (
    api.StartStrategyRequest | api.StopStrategyRequest | api.UpdateStrategyRequest | api.DeleteStrategyRequest
)


class StrategyServicer(strategy_pb2_grpc.StrategyServiceServicer):
    """Implements StrategyService.

    Args:
        store: strategy's store.
        registry: the strategy types.
        directory: the instruments.
        active_brokers: brokers that a strategy may opt in to.
        account: the account if a request names none.
        signal_ttl_seconds: the validity of signals if a request gives none.
        wall_clock: returns the current wall time, aware.
        most_strategies: strategies that there may be, deleted ones among them.
        live_brokers: those of the brokers whose orders reach a real exchange.
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
        most_strategies: int = MOST_STRATEGIES,
        live_brokers: Collection[str] = (),
    ) -> None:
        self._store = store
        self._registry = registry
        self._configurations = Configurations(
            registry, directory, active_brokers, account, signal_ttl_seconds, live_brokers
        )
        self._account = account
        self._wall_clock = wall_clock
        self._most = most_strategies

    @override
    async def CreateStrategy(
        self, request: api.CreateStrategyRequest, context: Context
    ) -> api.CreateStrategyResponse:
        key = _key("CreateStrategy", request.request_id)
        config = self._configurations.created(request)
        await self._check_room_for(config.strategy_id)
        note = await self._about_account(config)

        def decide(stored: StoredStrategy | None) -> Change:
            if stored is not None and stored.config.state is not StrategyState.DELETED:
                raise AlreadyExists(
                    "STRATEGY_EXISTS",
                    f"strategy {config.strategy_id!r} exists already; choose another strategy_id",
                    strategy_id=config.strategy_id,
                )
            if stored is None:
                return self._change(key, config, note)
            before = stored.config
            return self._change(
                key, replace(config, revision=before.revision + 1, flattens=before.flattens), note
            )

        answer = await self._store.command(
            key,
            request,
            config.strategy_id,
            _recorded(decide),
            lambda stored: api.CreateStrategyResponse(strategy=strategy_message(stored)),
        )
        return api.CreateStrategyResponse.FromString(answer)

    async def _check_room_for(self, strategy_id: str) -> None:
        """Requires room for one more strategy, or that there is one of this name."""
        if await self._store.get(strategy_id) is None and await self._store.has_at_least(self._most):
            raise FailedPrecondition(
                "TOO_MANY_STRATEGIES",
                f"there are {self._most} strategies, deleted ones among them, as many as may be: use a name again, or raise"
                " the setting strategy.most_strategies",
            )

    async def _about_account(self, config: StrategyConfig) -> str:
        """A note where the strategy is the first on its account: the name may be mistyped."""
        if config.account == self._account:
            return ""
        known = {
            each.account for each in await self._store.current() if each.state is not StrategyState.DELETED
        }
        if config.account in known:
            return ""
        near = nearest(config.account, sorted({self._account, *known}))
        hint = f" (did you mean {near!r}?)" if near else ""
        return f"account {config.account!r} is new, no other strategy is on it{hint}"

    def first_revision(self, request: api.CreateStrategyRequest, *, running: bool) -> Change:
        """Makes the first revision of a strategy that is created without an RPC.

        Raises:
            InvalidInput: a field can't be used; the error names the first one.
        """
        config = self._configurations.created(request)
        if running:
            config = replace(config, state=StrategyState.RUNNING)
        return self._change(_key("CreateStrategy", request.request_id), config, note="")

    @override
    async def GetStrategy(self, request: api.GetStrategyRequest, context: Context) -> api.GetStrategyResponse:
        async with self._nearest_named(request.strategy_id):
            stored = _existing(await self._store.get(request.strategy_id))
        missing = await self._store.missing([request.strategy_id])
        return api.GetStrategyResponse(strategy=strategy_message(stored, missing.get(request.strategy_id, 0)))

    @override
    async def ListStrategies(
        self, request: api.ListStrategiesRequest, context: Context
    ) -> api.ListStrategiesResponse:
        filters = f"strategies {request.state}"
        position = decode_page_token(request.page_token, filters, str)
        size = request.page_size or DEFAULT_PAGE
        state = StrategyState(request.state) if request.state else None
        found = await self._store.page(state, position[0] if position else "", size + 1)
        missing = await self._store.missing([each.config.strategy_id for each in found[:size]])
        token = encode_page_token([found[size - 1].config.strategy_id], filters) if len(found) > size else ""
        return api.ListStrategiesResponse(
            strategies=[
                strategy_message(each, missing.get(each.config.strategy_id, 0)) for each in found[:size]
            ],
            next_page_token=token,
        )

    @override
    async def StartStrategy(
        self, request: api.StartStrategyRequest, context: Context
    ) -> api.StartStrategyResponse:
        key = _key("StartStrategy", request.request_id)
        answer = await self._of_existing(
            key,
            request,
            self._switch(key, StrategyState.RUNNING, note=""),
            lambda stored: api.StartStrategyResponse(strategy=strategy_message(stored)),
        )
        return api.StartStrategyResponse.FromString(answer)

    @override
    async def StopStrategy(
        self, request: api.StopStrategyRequest, context: Context
    ) -> api.StopStrategyResponse:
        key = _key("StopStrategy", request.request_id)
        answer = await self._of_existing(
            key,
            request,
            self._switch(key, StrategyState.STOPPED, note=POSITIONS_STAY),
            lambda stored: api.StopStrategyResponse(strategy=strategy_message(stored)),
        )
        return api.StopStrategyResponse.FromString(answer)

    @override
    async def UpdateStrategy(
        self, request: api.UpdateStrategyRequest, context: Context
    ) -> api.UpdateStrategyResponse:
        key = _key("UpdateStrategy", request.request_id)
        flatten = request.open_position == api.OPEN_POSITION_FLATTEN

        def decide(stored: StoredStrategy | None) -> Change | None:
            before = _existing(stored).config
            after = self._configurations.changed(before, request.strategy, request.update_mask.paths)
            if after == before and not flatten:
                return None
            after = replace(after, revision=before.revision + 1)
            if not flatten:
                return self._change(key, after, UPDATED_POSITIONS_STAY)
            return self._change(key, flattened(before, after), UPDATED_AND_FLATTENED)

        answer = await self._of_existing(
            key,
            request,
            decide,
            lambda stored: api.UpdateStrategyResponse(strategy=strategy_message(stored)),
        )
        return api.UpdateStrategyResponse.FromString(answer)

    @override
    async def DeleteStrategy(
        self, request: api.DeleteStrategyRequest, context: Context
    ) -> api.DeleteStrategyResponse:
        key = _key("DeleteStrategy", request.request_id)

        def decide(stored: StoredStrategy | None) -> Change:
            config = _existing(stored).config
            if config.state is StrategyState.RUNNING:
                raise FailedPrecondition(
                    "STRATEGY_RUNNING",
                    f"strategy {config.strategy_id!r} runs; stop it before you delete it",
                    strategy_id=config.strategy_id,
                )
            deleted = replace(config, state=StrategyState.DELETED, revision=config.revision + 1)
            return self._change(key, deleted, DELETED_POSITIONS_STAY)

        answer = await self._of_existing(
            key,
            request,
            decide,
            lambda stored: api.DeleteStrategyResponse(strategy=strategy_message(stored)),
        )
        return api.DeleteStrategyResponse.FromString(answer)

    @override
    async def ListStrategyTypes(
        self, request: api.ListStrategyTypesRequest, context: Context
    ) -> api.ListStrategyTypesResponse:
        position = decode_page_token(request.page_token, "types", str)
        after = position[0] if position else ""
        size = request.page_size or DEFAULT_PAGE
        names = [name for name in self._registry.names if name > after]
        return api.ListStrategyTypesResponse(
            strategy_types=[type_message(self._registry.type_named(name)) for name in names[:size]],
            next_page_token=encode_page_token([names[size - 1]], "types") if len(names) > size else "",
        )

    async def _of_existing(
        self,
        key: CommandKey,
        request: _OfStrategy,
        decide: Decide,
        answer: Answer,
    ) -> bytes:
        """Runs a command on the strategy that the request names.

        Raises:
            NotFound: there is no such strategy; the error suggests the nearest name.
        """
        async with self._nearest_named(request.strategy_id):
            return await self._store.command(key, request, request.strategy_id, _recorded(decide), answer)

    @asynccontextmanager
    async def _nearest_named(self, strategy_id: str) -> AsyncIterator[None]:
        """Refuses a strategy that doesn't exist, with the name most similar to it."""
        try:
            yield
        except _NoSuchStrategy as error:
            page = await self._store.page(None, "", MOST_COMPARED)
            near = nearest(strategy_id, [each.config.strategy_id for each in page])
            hint = f"did you mean {near!r}? " if near else ""
            raise NotFound(
                "STRATEGY_NOT_FOUND",
                f"there is no strategy {strategy_id!r}; {hint}ListStrategies names them",
                strategy_id=strategy_id,
            ) from error

    def _switch(self, key: CommandKey, state: StrategyState, note: str) -> Decide:
        def decide(stored: StoredStrategy | None) -> Change | None:
            config = _existing(stored).config
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
            correlation_id=current_correlation_id.get() or command_id,
            causation_id=command_id,
        )
        return Change(strategy, event)


def _key(method: str, request_id: str) -> CommandKey:
    return CommandKey(current_caller.get(), _METHOD + method, request_id)


class _NoSuchStrategy(LookupError):
    """The strategy that a request names doesn't exist, or was deleted."""


def _existing(stored: StoredStrategy | None) -> StoredStrategy:
    if stored is None or stored.config.state is StrategyState.DELETED:
        raise _NoSuchStrategy
    return stored


def _recorded(decide: Decide) -> Decide:
    """Tells the audit the strategy before and after what is decided."""

    def deciding(stored: StoredStrategy | None) -> Change | None:
        change = decide(stored)
        after = stored if change is None else change.strategy
        record_change(
            None if stored is None else strategy_message(stored),
            None if after is None else strategy_message(after),
        )
        return change

    return deciding
