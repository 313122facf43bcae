"""`alphapanda users`: users, roles, service accounts and sessions, for administrators."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from alphapanda.commands.asking import ListsByDefault, ask, asks, new_request_id, page, pages, show
from alphapanda.commands.console import USAGE, fail
from alphapanda.commands.finding import Target
from alphapanda.commands.passwords import password_file_option, password_of
from alphapanda.commands.user_tables import permission_names, roles_table, sessions_table, users_table
from alphapanda.commands.wording import market_moment, shown_time
from panda.auth.v1.auth_pb2 import (
    ChangePasswordRequest,
    CreateServiceAccountRequest,
    CreateUserRequest,
    ListRolesRequest,
    ListSessionsRequest,
    ListUsersRequest,
    RevokeSessionRequest,
    SetPasswordRequest,
    SetRoleRequest,
    SetRolesRequest,
    SetUserDisabledRequest,
)
from panda.options.v1.options_pb2 import Permission

GRANTABLE: Final = (
    "READ",
    "TRADE",
    "MANAGE_STRATEGIES",
    "MANAGE_RISK",
    "OPERATE",
    "MANAGE_BROKER",
    "MANAGE_USERS",
    "INTERNAL",
)
"""Permissions that a role may have; INTERNAL is for service accounts."""


@click.group(cls=ListsByDefault)
def users() -> None:
    """Show users; create and change them, their roles, passwords and sessions, and service accounts."""


@users.command("list")
@pages
@asks
def list_users(page_size: int, page_token: str, target: Target, *, as_json: bool) -> None:
    """List users and service accounts by name."""
    request = ListUsersRequest(page_size=page_size, page_token=page_token)
    answer = ask(target, lambda services: services.auth.ListUsers(request))
    show(answer, as_json=as_json, table=lambda: page(users_table(answer.users), answer.next_page_token))


@users.command("create")
@click.argument("name")
@click.option("--role", "roles", multiple=True, help="a role of the user; may be repeated")
@password_file_option
@click.option("--service", is_flag=True, help="a service account: it has no password; its token is printed")
@click.option("--days", type=click.IntRange(1, 3650), default=None, help="days that its token is valid")
@asks
def create_user(
    name: str,
    roles: tuple[str, ...],
    password_file: Path | None,
    days: int | None,
    target: Target,
    *,
    service: bool,
    as_json: bool,
) -> None:
    """Create a user, or with --service a service account, whose token is shown now and never again."""
    if not roles:
        fail("--role: name a role, such as viewer; `alphapanda users roles` lists them", USAGE)
    if service:
        if password_file is not None:
            fail("--password-file: a service account has no password", USAGE)
        request = CreateServiceAccountRequest(
            request_id=new_request_id(), user_name=name, roles=roles, valid_days=days or 0
        )
        answer = ask(target, lambda services: services.auth.CreateServiceAccount(request))
        until = shown_time(market_moment(answer.tokens, "access_expires_at"), "%d %b %Y")
        click.echo(f"{name} is created; its token is valid until {until} and not shown again:", err=True)
        show(answer, as_json=as_json, table=lambda: answer.tokens.access_token)
        return
    if days is not None:
        fail("--days is for --service: a person signs in with a password", USAGE)
    password = password_of(password_file, f"password of {name}", twice=True)
    asked = CreateUserRequest(request_id=new_request_id(), user_name=name, password=password, roles=roles)
    created = ask(target, lambda services: services.auth.CreateUser(asked))
    show(created, as_json=as_json, table=lambda: users_table([created.user]))


@users.command("roles")
@click.argument("name", required=False)
@click.argument("roles", nargs=-1)
@click.option("--none", "no_role", is_flag=True, help="take all roles away from the user")
@asks
def set_roles(
    name: str | None, roles: tuple[str, ...], target: Target, *, no_role: bool, as_json: bool
) -> None:
    """List the roles, or set all roles of user NAME."""
    if name is None:
        answer = ask(target, lambda services: services.auth.ListRoles(ListRolesRequest(page_size=1000)))
        show(answer, as_json=as_json, table=lambda: roles_table(answer.roles))
        return
    if not roles and not no_role:
        fail(f"name the roles that {name} has from now on, or --none", USAGE)
    request = SetRolesRequest(request_id=new_request_id(), user_name=name, roles=roles)
    changed = ask(target, lambda services: services.auth.SetRoles(request))
    show(changed, as_json=as_json, table=lambda: users_table([changed.user]))


@users.command("role")
@click.argument("role")
@click.option(
    "--permission",
    "permissions",
    type=click.Choice(GRANTABLE, case_sensitive=False),
    multiple=True,
    help="what it permits from now on; may be repeated",
)
@click.option("--description", default="", help="what it is for, one sentence")
@asks
def set_role(
    role: str, permissions: tuple[str, ...], description: str, target: Target, *, as_json: bool
) -> None:
    """Create a role, or set all that it permits."""
    if not permissions:
        fail(f"--permission: name what {role} permits: {', '.join(GRANTABLE)}", USAGE)
    request = SetRoleRequest(
        request_id=new_request_id(),
        role=role,
        description=description,
        permissions=[Permission.Value(f"PERMISSION_{name.upper()}") for name in permissions],
    )
    answer = ask(target, lambda services: services.auth.SetRole(request))
    show(
        answer,
        as_json=as_json,
        table=lambda: f"{role} permits {', '.join(permission_names(answer.role.permissions))}",
    )


@users.command("password")
@click.argument("name", required=False)
@password_file_option
@asks
def set_password(name: str | None, password_file: Path | None, target: Target, *, as_json: bool) -> None:
    """Change your own password, or set that of user NAME, whose sessions then end."""
    if name is not None:
        new = password_of(password_file, f"new password of {name}", twice=True)
        asked = SetPasswordRequest(request_id=new_request_id(), user_name=name, password=new)
        set_now = ask(target, lambda services: services.auth.SetPassword(asked))
        text = f"the password of {name} is set; all sessions of {name} have ended"
        show(set_now, as_json=as_json, table=lambda: text)
        return
    current = password_of(None, "current password")
    request = ChangePasswordRequest(
        request_id=new_request_id(),
        current_password=current,
        new_password=password_of(password_file, "new password", twice=True),
    )
    answer = ask(target, lambda services: services.auth.ChangePassword(request))
    text = f"your password is changed; {answer.sessions_ended} other sessions have ended"
    show(answer, as_json=as_json, table=lambda: text)


@users.command("disable")
@click.argument("name")
@asks
def disable_user(name: str, target: Target, *, as_json: bool) -> None:
    """Disable a user: its sessions end, and it can't sign in."""
    _set_disabled(name, target, disabled=True, as_json=as_json)


@users.command("enable")
@click.argument("name")
@asks
def enable_user(name: str, target: Target, *, as_json: bool) -> None:
    """Enable a disabled user again."""
    _set_disabled(name, target, disabled=False, as_json=as_json)


def _set_disabled(name: str, target: Target, *, disabled: bool, as_json: bool) -> None:
    request = SetUserDisabledRequest(request_id=new_request_id(), user_name=name, disabled=disabled)
    answer = ask(target, lambda services: services.auth.SetUserDisabled(request))
    show(answer, as_json=as_json, table=lambda: users_table([answer.user]))


@users.command("sessions")
@click.argument("name", default="")
@click.option("--ended", is_flag=True, help="list ended sessions, too")
@pages
@asks
def list_sessions(
    name: str, page_size: int, page_token: str, target: Target, *, ended: bool, as_json: bool
) -> None:
    """List sessions, of all or of user NAME: who signed in from where."""
    request = ListSessionsRequest(user_name=name, ended=ended, page_size=page_size, page_token=page_token)
    answer = ask(target, lambda services: services.auth.ListSessions(request))
    show(answer, as_json=as_json, table=lambda: page(sessions_table(answer.sessions), answer.next_page_token))


@users.command("revoke")
@click.argument("session_id", metavar="SESSION")
@click.option("--reason", default="", help="why, one sentence")
@asks
def revoke_session(session_id: str, reason: str, target: Target, *, as_json: bool) -> None:
    """End a session; its tokens stop counting within seconds."""
    request = RevokeSessionRequest(request_id=new_request_id(), session_id=session_id, reason=reason)

    answer = ask(target, lambda services: services.auth.RevokeSession(request))
    show(answer, as_json=as_json, table=lambda: sessions_table([answer.session]))
