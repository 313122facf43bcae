"""The names of spans and of their attributes, and which span tells of what: the one place where these words stand.

The tree of an order, with the service that records each span:

    publish market.ticks                              marketdata   PRODUCER  the root: the frame that led to a signal
    └ process market.ticks                            strategy     CONSUMER  the decision; links to the frames behind it
      └ publish {broker}.signals.raw                  strategy     PRODUCER
        └ process {broker}.signals.raw                risk         CONSUMER  verdict, reason, the rule that decided
          └ publish {broker}.signals.validated        risk         PRODUCER  by the relay
            └ process {broker}.signals.validated      trading      CONSUMER  the order is driven
              ├ execute_order {broker}                trading      CLIENT    each broker call; look_up {broker}
              └ publish {broker}.orders.filled        trading      PRODUCER  by the relay
                ├ process {broker}.orders.filled      portfolio    CONSUMER  the fill is booked
                └ process {broker}.orders.filled      risk         CONSUMER

A manual order begins with the SERVER span of PlaceOrder; below it are `drive order`, the call of AuthorizeOrder, and risk's `decide
signal`, whose verdict is published like any other. Attributes follow OpenTelemetry's semantic conventions, and begin with
`alphapanda.` where these have none.

Ids of spans that others hang under are derived from what they tell of (`domain.ids.span_id`), so a process that comes back after a
kill records the same span again, and the tree has no missing parent.
"""

from __future__ import annotations

from typing import Final

from alphapanda.domain import ids

# -- names ------------------------------------------------------------------------------------------------------------

PUBLISH: Final = "publish"
"""Name of a PRODUCER span: `publish {topic}`."""
PROCESS: Final = "process"
"""Name of a CONSUMER span: `process {topic}`."""
EXECUTE_ORDER: Final = "execute_order"
"""Name of a CLIENT span: `execute_order {broker}`."""
LOOK_UP: Final = "look_up"
"""Name of a CLIENT span: `look_up {broker}`."""
MODIFY_ORDER: Final = "modify_order"
"""Name of a CLIENT span: `modify_order {broker}`."""
CANCEL_ORDER: Final = "cancel_order"
"""Name of a CLIENT span: `cancel_order {broker}`."""
DECIDE_SIGNAL: Final = "decide signal"
"""INTERNAL: risk's decision on a manual order, or on a signal that had waited for an open order."""
DRIVE_ORDER: Final = "drive order"
"""INTERNAL: a manual order, from its storing to its end or to the broker's look-ups."""
SQUARE_OFF_DUE: Final = "square off due"
"""INTERNAL: risk's timer found a position that has to be squared off; a root."""

SERVICES: Final = ("marketdata", "strategy", "risk", "trading", "portfolio")
"""The services (`service.name`) that every filled order of a strategy has spans of."""

# -- attributes of the semantic conventions ---------------------------------------------------------------------------

SERVICE_NAME: Final = "service.name"
MESSAGING_SYSTEM: Final = "messaging.system"
MESSAGING_DESTINATION: Final = "messaging.destination.name"
MESSAGING_PARTITION: Final = "messaging.destination.partition.id"
MESSAGING_OPERATION_NAME: Final = "messaging.operation.name"
MESSAGING_OPERATION_TYPE: Final = "messaging.operation.type"
"""send (PRODUCER) or process (CONSUMER)."""
MESSAGING_GROUP: Final = "messaging.consumer.group.name"
MESSAGING_MESSAGE_ID: Final = "messaging.message.id"
"""The event's id."""
MESSAGING_CONVERSATION_ID: Final = "messaging.message.conversation_id"
"""The correlation id."""
MESSAGING_KEY: Final = "messaging.kafka.message.key"
MESSAGING_OFFSET: Final = "messaging.kafka.offset"
RPC_SYSTEM: Final = "rpc.system"
RPC_SERVICE: Final = "rpc.service"
RPC_METHOD: Final = "rpc.method"
RPC_STATUS_CODE: Final = "rpc.grpc.status_code"
ERROR_TYPE: Final = "error.type"

# -- attributes of our own --------------------------------------------------------------------------------------------

CORRELATION_ID: Final = "alphapanda.correlation_id"
BROKER: Final = "alphapanda.broker"
ACCOUNT: Final = "alphapanda.account"
STRATEGY_ID: Final = "alphapanda.strategy_id"
INSTRUMENT_ID: Final = "alphapanda.instrument_id"
SIGNAL_ID: Final = "alphapanda.signal_id"
ORDER_ID: Final = "alphapanda.order_id"
ORDER_STATUS: Final = "alphapanda.order_status"
ORDER_REVISION: Final = "alphapanda.order_revision"
FAILURE_REASON: Final = "alphapanda.failure_reason"
FILL_ID: Final = "alphapanda.fill_id"
SIDE: Final = "alphapanda.side"
QUANTITY: Final = "alphapanda.quantity"
TARGET: Final = "alphapanda.target"
PRICE: Final = "alphapanda.price"
REALISED: Final = "alphapanda.realised"
VERDICT: Final = "alphapanda.verdict"
"""APPROVED, REJECTED or WAITING."""
REASON: Final = "alphapanda.reason"
RULE: Final = "alphapanda.rule"
"""The risk rule that decided: the one that failed or clamped; absent where all passed."""
MESSAGE: Final = "alphapanda.message"
TAG: Final = "alphapanda.intent_tag"
BROKER_STATUS: Final = "alphapanda.broker_status"
"""The order's status as the broker reports it."""
BROKER_ORDER_ID: Final = "alphapanda.broker_order_id"
FRAME_ID: Final = "alphapanda.frame_id"
TICKS: Final = "alphapanda.ticks"
EVENT_TYPE: Final = "alphapanda.event_type"
CALLER: Final = "alphapanda.caller"
REQUEST_ID: Final = "alphapanda.request_id"
REDELIVERED: Final = "alphapanda.redelivered"
"""True: the record was handled before, and this time nothing was decided."""
RESUMED: Final = "alphapanda.resumed"
"""True: recorded by the process that went on after a restart, for the one that had no time to."""

MOST_LINKS: Final = 16
"""Most frames that a decision links to: the frame that led to it, and the newest others of its bar."""

# -- which span tells of what -----------------------------------------------------------------------------------------


def published(event_id: str) -> str:
    """Id of the PRODUCER span of an event: of frames, signals, and whatever a relay publishes."""
    return ids.span_id(event_id, "published")


def decided(signal_id: str) -> str:
    """Id of the span of a strategy's decision for a signal."""
    return ids.span_id(signal_id, "decided")


def judged(signal_id: str) -> str:
    """Id of the span in which risk decided a signal or a manual order; its verdict is published under it."""
    return ids.span_id(signal_id, "judged")


def waited(signal_id: str) -> str:
    """Id of the span in which risk received a signal that waits for an open order."""
    return ids.span_id(signal_id, "waited")


def placed(signal_id: str) -> str:
    """Id of the SERVER span of the command that placed a manual order."""
    return ids.span_id(signal_id, "placed")


def driven(order_id: str) -> str:
    """Id of the span in which an order is driven; broker calls and the order's events are under it."""
    return ids.span_id(order_id, "driven")


def booked(event_id: str) -> str:
    """Id of the span in which a fill's event is booked; a snapshot that it caused is under it."""
    return ids.span_id(event_id, "booked")
