"""What Zerodha's login page sends back in the address that it redirects to. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from alphapanda.domain.errors import InvalidInput

FORM = "the whole address that Zerodha has sent you to, with request_token= and state= in it"


@dataclass(frozen=True, slots=True)
class Redirect:
    """A login that somebody has completed at Zerodha.

    Attributes:
        request_token: is exchanged for a session, once.
        state: shows where the login was begun.
    """

    request_token: str = field(repr=False)
    state: str


def read_redirect(address: str) -> Redirect:
    """Reads the address that the login page has redirected to; a part of it from "?" on will do.

    Raises:
        InvalidInput: it is none, or nobody has signed in. The message doesn't show it: it may hold a token.
    """
    text = address.strip().strip("\"'<>")
    query = parse_qs(urlsplit(text).query or text.rpartition("?")[2])
    status = query.get("status", ["success"])[0]
    if status != "success":
        raise InvalidInput("address", f"says status={status[:20]}", "a login that succeeded: sign in again")
    token, state = query.get("request_token", [""])[0], query.get("state", [""])[0]
    if not token:
        raise InvalidInput("address", "has no request_token", FORM)
    if not state:
        raise InvalidInput("address", "has no state", f"{FORM}: begin with `alphapanda kite login`")
    return Redirect(token, state)
