"""A broker's report of one order, as trading's parts name it: `domain.broker_order`."""

from alphapanda.domain.broker_order import BrokerOrder, BrokerOrderStatus

__all__ = ["BrokerOrder", "BrokerOrderStatus"]
