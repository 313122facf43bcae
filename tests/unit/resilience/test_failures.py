"""Which failures pass: those of a database that was killed or frozen, however the driver words them."""

from __future__ import annotations

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError

from alphapanda.resilience.failures import POSTGRESQL, dependency_of, is_transient

CUT = [
    asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"),
    asyncpg.IdleInTransactionSessionTimeoutError("it was idle while its client was frozen"),
    asyncpg.exceptions.CrashShutdownError("another server process was killed"),
    asyncpg.CannotConnectNowError("the database system is in recovery mode"),
    DBAPIError("SELECT 1", {}, OSError(), connection_invalidated=True),
]


@pytest.mark.parametrize("error", CUT, ids=lambda error: type(error).__name__)
def test_a_connection_that_was_cut_is_a_failure_that_passes(error: Exception) -> None:
    """It is the database's: the same call is made again, and no record is parked for it."""
    assert is_transient(error)
    assert dependency_of(error) == POSTGRESQL
