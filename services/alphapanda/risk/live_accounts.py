"""Arms and disarms live accounts: each only reduces until a person arms it, for one day of the exchange."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime

import structlog

from alphapanda.contract.wire import timestamp
from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.mesh.errors import FailedPrecondition
from alphapanda.mesh.recording import record_change
from alphapanda.risk.core.rules.arming import REQUIRED, missing
from alphapanda.risk.core.scoped_limits import ScopedLimits
from alphapanda.risk.decision_inputs import DecisionInputs
from alphapanda.risk.messages import limit_messages
from alphapanda.risk.store.port import Arming, RiskStore
from alphapanda.storage.requests import CommandKey
from panda.risk.v1 import risk_pb2 as risk

_REQUIRED_NAMES = frozenset(limit.name for limit in REQUIRED)
_log = structlog.get_logger(__name__)


class LiveAccounts:
    """Lists, arms and disarms the accounts at live brokers.

    Args:
        store: risk's store.
        inputs: knows the live brokers, the limits of the settings, and the market's time.
        accounts: the accounts of each live broker, as the settings name them; others are known once something was decided
            in them.
        is_on: whether orders may go to a broker.
        wall_time: returns the current wall time, aware.
    """

    def __init__(
        self,
        store: RiskStore,
        inputs: DecisionInputs,
        accounts: Mapping[str, Sequence[str]],
        is_on: Callable[[str], bool],
        wall_time: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._inputs = inputs
        self._accounts = accounts
        self._is_on = is_on
        self._wall_time = wall_time

    async def list(self, broker: str) -> Sequence[risk.LiveAccount]:
        """Lists the accounts of a live broker, or of all for an empty name."""
        day = await self._market_day()
        found = []
        for one in sorted(self._inputs.live) if not broker else [self._live(broker)]:
            for account in sorted(await self._known(one)):
                async with self._store.unit(one, account, dry=True) as unit:
                    found.append(self._message(one, account, await unit.arming(), unit.limits, day))
        return found

    async def arm(self, caller: str, request: risk.ArmLiveAccountRequest) -> risk.ArmLiveAccountResponse:
        """Arms an account for the exchange's day. A repeated request arms it once.

        Raises:
            InvalidInput: the broker isn't live, there is no such account, or the day isn't a day.
            FailedPrecondition: the broker is off or its books are to be compared first, the market is on another day or its
                day is unknown, or a required limit isn't set.
            RequestReused: the request_id came with another body.
        """
        broker = self._live(request.broker)
        account = await self._account(broker, request.account)
        if not self._is_on(broker):
            raise FailedPrecondition(
                "BROKER_OFF", f"broker {broker!r} is off, so nothing goes there: set {broker}.enabled to true"
            )
        due = await self._store.reconciliation_due(broker)
        if due is not None:
            raise FailedPrecondition(
                "RECONCILIATION_DUE",
                f"broker {broker!r} is halted because {due.cause}: `alphapanda reconcile --broker {broker}` compares its"
                " orders, positions and cash and releases it",
            )
        today = await self._market_day()
        day = _meant(request.day, today)
        async with self._store.unit(broker, account) as unit:
            key = CommandKey(caller, "ArmLiveAccount", request.request_id)
            given = await unit.claim(key, request)
            if given is not None:
                return risk.ArmLiveAccountResponse.FromString(given)
            if unset := missing(unit.limits.over(self._inputs.limits_at(broker))):
                raise FailedPrecondition(
                    "LIMITS_MISSING",
                    f"account {account!r} at {broker!r} has no {' and no '.join(unset)}: `alphapanda risk set --broker"
                    f" {broker} --account {account} {unset[0]}=…` sets it",
                )
            before = await unit.arming()
            armed = Arming(day, caller, request.reason, self._wall_time())
            record_change(_shown(before), _shown(armed))
            await unit.save_arming(armed)
            message = self._message(broker, account, armed, unit.limits, today)
            answer = risk.ArmLiveAccountResponse(account=message)
            await unit.remember(key, answer)
        _log.warning(
            "account.armed",
            broker=broker,
            account=account,
            day=str(day),
            author=caller,
            message=request.reason,
        )
        return answer

    async def disarm(
        self, caller: str, request: risk.DisarmLiveAccountRequest
    ) -> risk.DisarmLiveAccountResponse:
        """Disarms an account: from the next decision on it only reduces. A repeated request disarms it once.

        Raises:
            InvalidInput: the broker isn't live, or there is no such account.
            RequestReused: the request_id came with another body.
        """
        broker = self._live(request.broker)
        account = await self._account(broker, request.account)
        today = await self._market_day()
        async with self._store.unit(broker, account) as unit:
            key = CommandKey(caller, "DisarmLiveAccount", request.request_id)
            given = await unit.claim(key, request)
            if given is not None:
                return risk.DisarmLiveAccountResponse.FromString(given)
            before = await unit.arming()
            disarmed = Arming(None, caller, request.reason, self._wall_time())
            record_change(_shown(before), _shown(disarmed))
            await unit.save_arming(disarmed)
            message = self._message(broker, account, disarmed, unit.limits, today)
            answer = risk.DisarmLiveAccountResponse(account=message)
            await unit.remember(key, answer)
        _log.warning(
            "account.disarmed", broker=broker, account=account, author=caller, message=request.reason
        )
        return answer

    def _live(self, broker: str) -> str:
        if broker not in self._inputs.live:
            others = ", ".join(sorted(self._inputs.live)) or "none is active"
            raise InvalidInput(
                "broker",
                broker,
                f"only a live broker's accounts are armed ({others}): at a simulated one no order reaches an exchange",
            )
        return broker

    async def _known(self, broker: str) -> Collection[str]:
        return {*self._accounts.get(broker, ()), *await self._store.accounts(broker)}

    async def _account(self, broker: str, name: str) -> str:
        known = await self._known(broker)
        if not name:
            if len(known) == 1:
                return next(iter(known))
            raise InvalidInput(
                "account", "", f"one of the accounts at {broker!r}: {', '.join(sorted(known))}"
            )
        if name not in known:
            raise UnknownName("account", name, known)
        return name

    async def _market_day(self) -> date | None:
        now = (await self._inputs.market(())).market_time
        return None if now is None else self._inputs.calendar.trading_day(now)

    def _message(
        self, broker: str, account: str, arming: Arming, scoped: ScopedLimits, day: date | None
    ) -> risk.LiveAccount:
        defaults = self._inputs.limits_at(broker)
        return risk.LiveAccount(
            broker=broker,
            account=account,
            armed=day is not None and arming.day == day,
            day=str(day or ""),
            armed_day=str(arming.day or ""),
            changed_by=arming.changed_by,
            reason=arming.reason,
            changed_at=timestamp(arming.changed_at),
            limits=[one for one in limit_messages(defaults, scoped, "", "") if one.name in _REQUIRED_NAMES],
            why_not=self._why_not(broker, arming, day, missing(scoped.over(defaults))),
        )

    def _why_not(self, broker: str, arming: Arming, day: date | None, unset: Sequence[str]) -> str:
        if not self._is_on(broker):
            return "the broker is off"
        if arming.day is None:
            return "it isn't armed"
        if day is None:
            return "market time is unknown"
        if arming.day != day:
            return f"it was armed for {arming.day}, today is {day}"
        return f"{', '.join(unset)} isn't set" if unset else ""


def _meant(given: str, today: date | None) -> date:
    """The day to arm: today, which the caller may have named; the named one while the market's day is unknown."""
    if not given:
        if today is None:
            raise FailedPrecondition(
                "DAY_UNKNOWN", "market time is unknown, so the day has to be named: day (--day YYYY-MM-DD)"
            )
        return today
    try:
        day = date.fromisoformat(given)
    except ValueError:
        raise InvalidInput("day", given, "a day as YYYY-MM-DD") from None
    if today is not None and day != today:
        raise FailedPrecondition(
            "OTHER_DAY",
            f"the market's day is {today}, not {day}: an account is armed for the current day alone",
        )
    return day


def _shown(arming: Arming) -> dict[str, str]:
    """An arming as the audit shows it."""
    return {"armed_day": str(arming.day or "")}
