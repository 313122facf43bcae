"""Sessions at brokers as messages of the contract."""

from __future__ import annotations

from alphapanda.auth.core.broker_session import BrokerSession
from alphapanda.contract.wire import timestamp
from panda.auth.v1 import broker_session_pb2 as api


def broker_session_message(session: BrokerSession) -> api.BrokerSession:
    """A session as a message; its token isn't in it."""
    made = api.BrokerSession(
        broker=session.owner.broker,
        account=session.owner.account,
        state=api.BrokerSessionState.ValueType(session.state),
        session_id=session.session_id,
        revision=session.revision,
        broker_user_id=session.broker_user_id,
        opened_by=session.opened_by,
        ended_because=session.ended_because,
    )
    for name in ("opened_at", "valid_until", "ended_at"):
        if (when := getattr(session, name)) is not None:
            getattr(made, name).CopyFrom(timestamp(when))
    return made
