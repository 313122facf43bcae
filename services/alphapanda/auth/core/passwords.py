"""Which passwords may be set."""

from __future__ import annotations

from typing import Final

from alphapanda.domain.errors import InvalidInput

LEAST_CHARACTERS: Final = 12
FEWEST_DIFFERENT: Final = 5
"""Different characters of a password."""
_HIDDEN: Final = "(not shown)"


def check_password(field: str, password: str, user_name: str) -> None:
    """Refuses a password that is easily guessed. The error never shows it.

    Args:
        field: the request's field, for the error.
        password: the password.
        user_name: whose it is.

    Raises:
        InvalidInput: it is too short, or is the user's name, or consists of too few different characters.
    """
    if len(password) < LEAST_CHARACTERS:
        raise InvalidInput(field, _HIDDEN, f"at least {LEAST_CHARACTERS} characters")
    plain = password.casefold()
    rest = plain.replace(user_name.casefold(), "") if user_name else plain
    if len(rest) < LEAST_CHARACTERS // 2:
        raise InvalidInput(field, _HIDDEN, "a password that isn't made of the user's name")
    if len(set(plain)) < FEWEST_DIFFERENT:
        raise InvalidInput(field, _HIDDEN, f"at least {FEWEST_DIFFERENT} different characters")
