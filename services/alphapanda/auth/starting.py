"""What auth does before it answers: the shipped roles and the first administrator, where there are none; old revocations."""

from __future__ import annotations

from typing import Final, Protocol

from structlog.typing import FilteringBoundLogger

from alphapanda.auth.api import MOST_REVOCATIONS
from alphapanda.auth.commands import AuthParts
from alphapanda.auth.core.passwords import check_password
from alphapanda.auth.core.roles import SHIPPED_ROLES
from alphapanda.auth.core.users import Role, UserKind
from alphapanda.mesh.revocations import Revocation

FIRST_ADMIN: Final = "admin"
SOURCE: Final = "auth"


class Record(Protocol):
    """Records in the audit that the first administrator is created."""

    async def begin(self, user_name: str) -> str:
        """Stores the entry before it is done; returns its id."""

    async def end(self, entry_id: str, *, created: bool) -> None:
        """Stores the outcome; another process may have created one first."""


class Starting:
    """Prepares the schema's first rows, and reads the revocations that still count.

    Args:
        parts: what the commands share.
        first_password: password of the first administrator; empty where none is to be created.
        log: gets what was created, or that nobody can sign in.
        record: records the first administrator; None: nowhere.
    """

    name = "first administrator"

    def __init__(
        self, parts: AuthParts, first_password: str, log: FilteringBoundLogger, record: Record | None = None
    ) -> None:
        self._record = record
        self._parts = parts
        self._first_password = first_password
        self._log = log

    async def start(self) -> None:
        """Creates what is missing.

        Raises:
            InvalidInput: the first password may not be set.
        """
        parts = self._parts
        await parts.passwords.start()
        if self._first_password:
            check_password("auth.first_admin_password", self._first_password, FIRST_ADMIN)
        now = parts.wall_clock()
        async with parts.store.reading() as reads:
            has_person, has_roles = await reads.has_person(), bool(await reads.roles())
        await self._read_revocations()
        creates = bool(self._first_password) and not has_person
        hashed = await parts.passwords.hashed(self._first_password) if creates else ""
        entry_id = await self._record.begin(FIRST_ADMIN) if creates and self._record is not None else ""
        created = False
        async with parts.store.unit() as unit:
            if not has_roles and not await unit.roles():
                for name, (description, permissions) in SHIPPED_ROLES.items():
                    await unit.set_role(Role(name, description, tuple(sorted(permissions)), now, SOURCE))
            if creates and not await unit.has_person():
                await unit.add_user(FIRST_ADMIN, UserKind.PERSON, hashed, [FIRST_ADMIN], SOURCE, now)
                created = True
        if created:
            self._log.info("auth.first_admin_created", user=FIRST_ADMIN)
        if self._record is not None and entry_id:
            await self._record.end(entry_id, created=created)
        if not has_person and not creates:
            self._log.warning(
                "auth.no_users",
                message="there is no user yet, and nobody can sign in: set auth.first_admin_password and start again",
            )

    async def stop(self) -> None:
        """Ends the threads that hash passwords."""
        await self._parts.passwords.stop()

    async def _read_revocations(self) -> None:
        after = 0
        found: list[Revocation] = []
        async with self._parts.store.reading() as reads:
            while step := await reads.revocations(after, self._parts.wall_clock(), MOST_REVOCATIONS):
                found += [one.revocation for one in step]
                after = step[-1].number
        self._parts.apply(found)
