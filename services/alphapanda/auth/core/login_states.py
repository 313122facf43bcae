"""The state that a login at a broker carries, so that only a login that was begun here is completed here.

It is signed and not stored: account, end and a number that one session at most can begin with.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final
from uuid import UUID

from alphapanda.auth.core.broker_session import BrokerAccount

SIGNATURE_BYTES: Final = 16
_PURPOSE: Final = b"login state "


@dataclass(frozen=True, slots=True)
class LoginState:
    """A login that was begun.

    Attributes:
        owner: broker and account.
        login_id: UUID as text.
        expires: seconds since 1970 until which it has to be completed.
    """

    owner: BrokerAccount
    login_id: str
    expires: int

    def in_time(self, now: datetime) -> bool:
        """Whether it can be completed still; `now`: wall time, aware."""
        return now.timestamp() < self.expires


def signed_state(state: LoginState, key: bytes) -> str:
    """The state as it travels: letters, digits, "-", "_" and a ".".

    Args:
        state: the login.
        key: secret of this service.
    """
    payload = f"{state.owner.broker} {state.owner.account} {state.login_id} {state.expires}".encode()
    return f"{_text(payload)}.{_text(_signature(payload, key))}"


def read_state(text: str, keys: list[bytes]) -> LoginState | None:
    """The login that a state is of; None where none of the keys has signed it.

    Args:
        text: the state as it came back.
        keys: secrets of this service; any may have signed it.
    """
    head, dot, tail = text.strip().partition(".")
    if not dot:
        return None
    try:
        payload, signature = _bytes(head), _bytes(tail)
    except (binascii.Error, ValueError):
        return None
    # What is written otherwise than this service writes it was changed on its way, whatever bytes it stands for.
    as_written = (_text(payload), _text(signature)) == (head, tail)
    if not as_written or not any(hmac.compare_digest(signature, _signature(payload, key)) for key in keys):
        return None
    broker, account, login_id, expires = payload.decode().split(" ")
    return LoginState(BrokerAccount(broker, account), str(UUID(login_id)), int(expires))


def _signature(payload: bytes, key: bytes) -> bytes:
    return hmac.new(sha256(_PURPOSE + key).digest(), payload, sha256).digest()[:SIGNATURE_BYTES]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
