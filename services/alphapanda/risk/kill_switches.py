"""Sets kill switches, distributes them to trading and to Redis, and compares these copies with risk's rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import grpc
import structlog
from redis.exceptions import RedisError

from alphapanda.domain import ids
from alphapanda.domain.order import TradingState
from alphapanda.mesh.errors import FailedPrecondition
from alphapanda.mesh.recording import record_change
from alphapanda.resilience.rounds import Rounds
from alphapanda.risk.core.switch_copies import COMPARE_SECONDS, Agreement, SwitchCopy, agreement
from alphapanda.risk.store.port import KillSwitch, RiskStore, SwitchScope
from alphapanda.risk.switch_events import kill_switch_message, switch_event
from alphapanda.storage.kill_switch_mirror import KillSwitchMirror, ShownSwitch
from alphapanda.storage.requests import CommandKey
from alphapanda.telemetry.correlation import current_correlation_id
from panda.common.v1 import common_pb2 as common
from panda.events.v1.events_pb2 import Event
from panda.risk.v1 import risk_pb2 as risk
from panda.trading.v1 import trading_pb2 as trading

_NEVER_SET = SwitchCopy(TradingState.ACTIVE, 0)
_TRADING, _REDIS = "trading", "Redis"

_log = structlog.get_logger(__name__)


class KillSwitchReceiver(Protocol):
    """The part of TradingService that is called here; TradingServiceStub implements it."""

    def ApplyKillSwitch(  # noqa: N802 - the contract's name
        self, request: trading.ApplyKillSwitchRequest, /, *, timeout: float | None = None
    ) -> Awaitable[trading.ApplyKillSwitchResponse]:
        """Applies a kill switch in trading; the answer has the revision and the state that trading holds now."""

    def GetKillSwitchCopies(  # noqa: N802 - the contract's name
        self, request: trading.GetKillSwitchCopiesRequest, /, *, timeout: float | None = None
    ) -> Awaitable[trading.GetKillSwitchCopiesResponse]:
        """Returns trading's copies of a broker's kill switches."""


class KillSwitches:
    """Sets kill switches: database row and event, then the mirror in Redis, then trading's acknowledgement.

    Mirror and acknowledgement are retried until they succeed. A mirror that Redis has lost is written again, because
    without it every entry would be refused. At an interval the copies are compared with the rows. A copy that holds what
    was never set is an alarm, and the stricter of the two applies: where the row isn't looser it takes the copy's place at
    once, otherwise when a person sets the switch again.

    Args:
        store: risk's store.
        mirror: the copy in Redis.
        trading: acknowledges switches and acts on them.
        brokers: the active brokers.
        wall_time: returns the current wall time, aware.
        timeout_seconds: timeout for trading's acknowledgement.
        retry_seconds: wall time between two attempts.
        compare_seconds: wall time between two comparisons of the copies.

    Attributes:
        name: its name in the service's status.
        rounds: retries what was not confirmed, and what Redis has lost.
        comparison: compares the copies with the rows.
    """

    name = "kill switches"

    def __init__(
        self,
        store: RiskStore,
        mirror: KillSwitchMirror,
        trading: KillSwitchReceiver,
        brokers: Sequence[str],
        wall_time: Callable[[], datetime],
        timeout_seconds: float = 2.0,
        retry_seconds: float = 1.0,
        compare_seconds: float = COMPARE_SECONDS,
    ) -> None:
        self._store = store
        self._mirror = mirror
        self._trading = trading
        self._brokers = tuple(brokers)
        self._wall_time = wall_time
        self._timeout = timeout_seconds
        self._unconfirmed = {SwitchScope(broker) for broker in self._brokers}
        self._differences: dict[tuple[SwitchScope, str], str] = {}
        self.rounds = Rounds("kill switches", self._send_again, retry_seconds, _log, at_once=True)
        self.comparison = Rounds("comparison of kill switches", self._compare, compare_seconds, _log)

    async def start(self) -> None:
        """Writes each broker's switch to the mirror and sends all switches to trading again; retries in the background."""
        await self._store.prepare(self._brokers)
        for broker in self._brokers:
            await self._show(await self._store.kill_switch(SwitchScope(broker)))
        self._unconfirmed.update(
            switch.scope for switch in await self._store.strategy_switches(self._brokers)
        )
        await self.rounds.start()
        await self.comparison.start()

    async def stop(self) -> None:
        """Stops retrying and comparing, after the current rounds."""
        await self.comparison.stop()
        await self.rounds.stop()

    @property
    def degradation(self) -> str:
        """Which copy holds what was never set, in one line; empty where the copies agreed when they were compared last."""
        return "; ".join(self._differences.values())

    def difference(self, scope: SwitchScope) -> str:
        """What a copy of this switch holds instead, one sentence; empty where the copies agreed when last compared."""
        return "; ".join(text for (whose, _), text in self._differences.items() if whose == scope)

    async def get(self, scope: SwitchScope) -> KillSwitch:
        """Reads a kill switch."""
        return await self._store.kill_switch(scope)

    async def set(
        self, caller: str, request: risk.SetKillSwitchRequest, *, reconciled: bool = False
    ) -> risk.SetKillSwitchResponse:
        """Sets a switch. A repeated request sets it once, but sends it to trading each time.

        A new request also takes the place of a copy that holds what was never set, even a stricter one: a person has said
        what is to be allowed.

        Args:
            caller: who asks.
            request: the command.
            reconciled: whether the broker's books were compared, where that is due.

        Raises:
            FailedPrecondition: the broker is halted until it was reconciled.
        """
        if not reconciled and request.state != common.TRADING_STATE_HALTED and not request.strategy_id:
            await self._require_reconciled(request.broker)
        key = CommandKey(caller, "SetKillSwitch", request.request_id)
        command = ids.command_id(key.caller, key.method, key.request_id)
        scope = SwitchScope(request.broker, request.strategy_id)
        is_new = False

        def change(current: KillSwitch) -> tuple[KillSwitch, Event] | None:
            nonlocal is_new
            is_new = True
            record_change(_shown(current), {**_shown(current), "state": TradingState(request.state).name})
            state, now = TradingState(request.state), self._wall_time()
            if current.revision and current.state is state:
                return None
            changed = KillSwitch(scope, state, current.revision + 1, caller, request.reason, now)
            return changed, switch_event(changed, command, current_correlation_id.get())

        given = await self._store.set_kill_switch(key, request, scope, change, kill_switch_message)
        message = risk.KillSwitch.FromString(given)
        warning = await self._send(await self._store.kill_switch(scope), confirmed=is_new)
        if warning:
            self._unconfirmed.add(scope)
            _log.warning(
                "kill_switch.unconfirmed", broker=scope.broker, strategy_id=scope.strategy_id, error=warning
            )
        _log.info(
            "kill_switch.set",
            broker=scope.broker,
            strategy_id=scope.strategy_id,
            state=TradingState(message.state).name,
        )
        return risk.SetKillSwitchResponse(
            kill_switch=message, acknowledged_by_trading=not warning, warning=warning
        )

    async def _require_reconciled(self, broker: str) -> None:
        due = await self._store.reconciliation_due(broker)
        if due is not None:
            raise FailedPrecondition(
                "RECONCILIATION_DUE",
                f"broker {broker!r} is halted because {due.cause}: `alphapanda reconcile --broker {broker}` compares its"
                " orders, positions and cash and releases it",
            )

    async def _send_again(self) -> None:
        """Sends again what was not confirmed, and what Redis has lost."""
        for broker in self._brokers:
            if await self._mirror.is_missing(broker):
                self._unconfirmed.add(SwitchScope(broker))
        for scope in sorted(self._unconfirmed):
            self._unconfirmed.discard(
                scope
            )  # before the read, so that a switch set meanwhile that fails stays unconfirmed
            confirmed = False
            try:
                confirmed = not await self._send(await self._store.kill_switch(scope))
            finally:
                if not confirmed:
                    self._unconfirmed.add(scope)

    async def _send(self, switch: KillSwitch, *, confirmed: bool = False) -> str:
        """Writes the mirror and calls trading; returns why it was not confirmed, empty if it was. Skips unset switches.

        Args:
            switch: as it was just read.
            confirmed: whether a person has just set it, so that it takes the place of a stricter copy too.
        """
        shown = await self._show(switch, confirmed=confirmed)
        if not switch.revision:
            return shown
        try:
            held = await self._apply(switch)
            if held.revision < switch.revision:
                return f"trading still holds revision {held.revision}"
            if held != _copy(switch):  # set again meanwhile, by another process, or by nobody
                newest = await self._store.kill_switch(switch.scope)
                return await self._put_right(newest, held, confirmed=confirmed) or shown
        except grpc.RpcError as error:
            return f"trading did not confirm ({_code(error)}); it is sent again until it does"
        self._differences.pop((switch.scope, _TRADING), None)
        return shown

    async def _show(self, switch: KillSwitch, *, confirmed: bool = False) -> str:
        """Writes the mirror; returns an error or an empty text. Only brokers' switches are mirrored."""
        scope = switch.scope
        if scope.strategy_id:
            return ""
        try:
            shown = SwitchCopy(*await self._mirror.write(scope.broker, switch.state, switch.revision))
            if shown != _copy(switch):
                newest = await self._store.kill_switch(scope)
                return await self._put_mirror_right(newest, shown, confirmed=confirmed)
        except (RedisError, OSError) as error:
            return f"the mirror in Redis could not be written ({type(error).__name__}); it is written again"
        self._differences.pop((scope, _REDIS), None)
        return ""

    # -- comparing the copies -----------------------------------------------------------------------------------------

    async def _compare(self) -> None:
        """Compares trading's copies and the mirror with the rows, which are read after them."""
        for broker in self._brokers:
            await self._compare_mirror(SwitchScope(broker))
            try:
                held = await self._held_by_trading(broker)
                rows = [switch.scope for switch in await self._store.strategy_switches([broker])]
                for scope in sorted({SwitchScope(broker), *held, *rows}):
                    own, copy = await self._store.kill_switch(scope), held.get(scope, _NEVER_SET)
                    await self._put_right(own, copy)
            except grpc.RpcError as error:
                _log.warning("kill_switch.not_compared", broker=broker, error=_code(error))

    async def _compare_mirror(self, scope: SwitchScope) -> None:
        try:
            shown = await self._mirror.shown(scope.broker)
            if shown is None:
                self._unconfirmed.add(scope)
                return
            await self._put_mirror_right(await self._store.kill_switch(scope), SwitchCopy(*shown))
        except (RedisError, OSError) as error:
            _log.warning("kill_switch.not_compared", broker=scope.broker, error=type(error).__name__)

    async def _put_right(self, own: KillSwitch, copy: SwitchCopy, *, confirmed: bool = False) -> str:
        """Makes trading's copy like the row; returns why it isn't, empty if it is.

        Raises:
            grpc.RpcError: trading can't be reached now.
        """
        found = agreement(_copy(own), copy)
        if not self._notice(own.scope, _TRADING, copy, found):
            if found is Agreement.BEHIND:
                self._unconfirmed.add(own.scope)
            return ""
        if found is Agreement.TO_CONFIRM and not confirmed:
            return self._differences[own.scope, _TRADING]
        if not own.revision:  # the same state: it takes the place when the switch is set
            return ""
        held = await self._apply(own, replaces=copy.revision)
        if held != _copy(own):
            return f"trading holds {held.state.name} at revision {held.revision}"
        self._differences.pop((own.scope, _TRADING), None)
        return ""

    async def _put_mirror_right(self, own: KillSwitch, shown: SwitchCopy, *, confirmed: bool = False) -> str:
        """Makes the mirror like the row; returns why it isn't, empty if it is.

        Raises:
            RedisError: Redis can't be written now.
        """
        found = agreement(_copy(own), shown)
        if not self._notice(own.scope, _REDIS, shown, found):
            if found is Agreement.BEHIND:
                self._unconfirmed.add(own.scope)
            return ""
        if found is Agreement.TO_CONFIRM and not confirmed:
            return self._differences[own.scope, _REDIS]
        replaced = ShownSwitch(shown.state, shown.revision)
        written = await self._mirror.write(own.scope.broker, own.state, own.revision, replaced)
        if SwitchCopy(*written) != _copy(own):
            return f"Redis holds {written.state.name} at revision {written.revision}"
        self._differences.pop((own.scope, _REDIS), None)
        return ""

    def _notice(self, scope: SwitchScope, where: str, copy: SwitchCopy, found: Agreement) -> bool:
        """Raises an alarm about a copy that holds what was never set, once; returns whether it does."""
        if found in (Agreement.AGREES, Agreement.BEHIND):
            self._differences.pop((scope, where), None)
            return False
        stays = "; it applies until the switch is set again" if found is Agreement.TO_CONFIRM else ""
        text = f"{where} holds {copy.state.name} for {scope.words} at revision {copy.revision}, which was never set{stays}"
        if self._differences.get((scope, where)) != text:
            self._differences[scope, where] = text
            _log.error(
                "kill_switch.copy_differed",
                alarm=True,
                broker=scope.broker,
                strategy_id=scope.strategy_id,
                error=text,
            )
        return True

    async def _held_by_trading(self, broker: str) -> Mapping[SwitchScope, SwitchCopy]:
        request = trading.GetKillSwitchCopiesRequest(broker=broker)
        answer = await self._trading.GetKillSwitchCopies(request, timeout=self._timeout)
        return {
            SwitchScope(broker, copy.strategy_id): SwitchCopy(TradingState(copy.state), copy.revision)
            for copy in answer.copies
        }

    async def _apply(self, switch: KillSwitch, replaces: int = 0) -> SwitchCopy:
        request = trading.ApplyKillSwitchRequest(
            broker=switch.scope.broker,
            state=common.TradingState.ValueType(switch.state),
            revision=switch.revision,
            strategy_id=switch.scope.strategy_id,
            replaces=replaces,
        )
        held = await self._trading.ApplyKillSwitch(request, timeout=self._timeout)
        # A trading of an older version doesn't say the state.
        return SwitchCopy(TradingState(held.state or switch.state), held.revision)


def _copy(switch: KillSwitch) -> SwitchCopy:
    return SwitchCopy(switch.state, switch.revision)


def _code(error: grpc.RpcError) -> str:
    return error.code().name if isinstance(error, grpc.aio.AioRpcError) else type(error).__name__


def _shown(switch: KillSwitch) -> dict[str, str]:
    """A switch as the audit shows it."""
    scope = switch.scope
    return {"broker": scope.broker, "strategy_id": scope.strategy_id, "state": switch.state.name}
