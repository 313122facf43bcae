"""GTTs: orders that wait for a price, for a year. They are kept and listed; a trigger places its order."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import Any, Final

from tests.kite_exchange.clock import SECOND_NS, stamp
from tests.kite_exchange.desk import Desk
from tests.kite_exchange.errors import KiteError, bad_input

_YEAR_NS: Final = int(timedelta(days=365).total_seconds()) * SECOND_NS
_VALUES: Final = {"single": 1, "two-leg": 2}


@dataclass(slots=True)
class Trigger:
    """A GTT of a user."""

    trigger_id: int
    user_id: str
    kind: str
    condition: dict[str, Any]
    orders: list[dict[str, Any]]
    created_ns: int
    updated_ns: int
    status: str = "active"

    def row(self) -> dict[str, Any]:
        """As /gtt/triggers lists it."""
        return {
            "id": self.trigger_id,
            "user_id": self.user_id,
            "parent_trigger": None,
            "type": self.kind,
            "created_at": stamp(self.created_ns),
            "updated_at": stamp(self.updated_ns),
            "expires_at": stamp(self.created_ns + _YEAR_NS),
            "status": self.status,
            "condition": self.condition,
            "orders": self.orders,
            "meta": {},
        }


@dataclass(slots=True)
class Triggers:
    """All GTTs.

    Attributes:
        desk: where a trigger's order is placed.
        by_id: in the order in which they were made.
    """

    desk: Desk
    by_id: dict[int, Trigger] = field(default_factory=dict)
    _ids: count[int] = field(default_factory=lambda: count(112_127))

    def put(self, user_id: str, form: Mapping[str, str], trigger_id: int | None = None) -> Trigger:
        """Makes a GTT, or changes one.

        Raises:
            KiteError: 400: it can't be used.
        """
        kind = form.get("type", "")
        try:
            condition, orders = json.loads(form["condition"]), json.loads(form["orders"])
            listed = self.desk.market.listing.by_key[f"{condition['exchange']}:{condition['tradingsymbol']}"]
            values = [Decimal(str(value)) for value in condition["trigger_values"]]
        except (KeyError, ValueError, TypeError):
            raise bad_input("Invalid condition or orders") from None
        if _VALUES.get(kind) != len(values) or len(orders) != len(values):
            raise bad_input("Invalid `type`, or trigger values that don't fit it")
        if any(order.get("order_type") != "LIMIT" for order in orders):
            raise bad_input("Only LIMIT orders are allowed")
        now = self.desk.clock.ns()
        number = trigger_id or next(self._ids)
        created = self.by_id[number].created_ns if trigger_id else now
        condition = {**condition, "instrument_token": listed.instrument_token}
        orders = [{**order, "result": None} for order in orders]
        self.by_id[number] = Trigger(number, user_id, kind, condition, orders, created, now)
        return self.by_id[number]

    def get(self, user_id: str, trigger_id: str) -> Trigger:
        """A user's GTT.

        Raises:
            KiteError: 404: there is none.
        """
        found = self.by_id.get(int(trigger_id)) if trigger_id.isdigit() else None
        if found is None or found.user_id != user_id:
            raise KiteError(404, "GeneralException", "Trigger not found")
        return found

    def on_prices(self, tokens: set[int]) -> None:
        """Places the orders of those whose price has come."""
        for trigger in self.by_id.values():
            if trigger.status == "active" and trigger.condition["instrument_token"] in tokens:
                self._try(trigger)

    def _try(self, trigger: Trigger) -> None:
        quote = self.desk.market.quote(trigger.condition["instrument_token"])
        if quote is None:
            return
        first = Decimal(str(trigger.condition["last_price"]))
        values = [Decimal(str(value)) for value in trigger.condition["trigger_values"]]
        reached = [
            leg
            for leg, value in enumerate(values)
            if (quote.rupees <= value if value <= first else quote.rupees >= value)
        ]
        if not reached:
            return
        order = trigger.orders[reached[0]]
        form = {
            name: str(order[name])
            for name in ("transaction_type", "quantity", "price", "order_type", "product")
        }
        form |= {name: str(trigger.condition[name]) for name in ("exchange", "tradingsymbol")}
        trigger.status, trigger.updated_ns = "triggered", self.desk.clock.ns()
        try:
            placed = self.desk.place(trigger.user_id, "regular", form)
            told = {"status": "success", "order_id": placed.order_id, "rejection_reason": ""}
        except KiteError as error:
            told = {"status": "failed", "order_id": "", "rejection_reason": error.message}
        order["result"] = {**form, "timestamp": stamp(trigger.updated_ns), "order_result": told}
