"""Builds what the trader of Zerodha is made of; imported only where Zerodha is used."""

from __future__ import annotations

from decimal import Decimal

from alphapanda.app.kite_parts import KiteParts
from alphapanda.app.resources import ProcessResources
from alphapanda.domain.charge_rates import load_charge_rates
from alphapanda.kite.order_updates import OrderUpdates
from alphapanda.paper_exchange.core.paper_charges import KiteCharges
from alphapanda.settings.zerodha import ZerodhaSettings
from alphapanda.trading.traders.kite_parts import ZerodhaOptions, ZerodhaParts


def zerodha_options(zerodha: ZerodhaSettings) -> ZerodhaOptions:
    """How orders are sent and followed."""
    return ZerodhaOptions(
        market_protection=zerodha.market_protection_percent,
        visibility_seconds=zerodha.visibility_seconds,
        least_look_ups=zerodha.least_look_ups,
        escalation_percents=[Decimal(percent) for percent in zerodha.escalation_percents],
        halt_after=zerodha.halt_after_refusals,
    )


def zerodha_parts(resources: ProcessResources, kite: KiteParts) -> ZerodhaParts:
    """What the trader is built with; nothing runs before its start."""
    return ZerodhaParts(
        rest=kite.rest,
        charges=KiteCharges(load_charge_rates()),
        instruments=resources.instruments,
        options=zerodha_options(resources.settings.zerodha),
        updates={
            account: OrderUpdates(account, kite.options, follower, kite.rest[account].finds_dead)
            for account, follower in kite.followers.items()
        },
    )
