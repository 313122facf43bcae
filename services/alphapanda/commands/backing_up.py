"""`alphapanda backup` and `alphapanda restore`: a data directory into a folder, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import grpc

from alphapanda.app.backup import backup_of_stopped, require_empty
from alphapanda.app.local_auth import with_known_secret
from alphapanda.app.restore import restore
from alphapanda.app.security import open_security
from alphapanda.app.stopped import port_of_running, stopped_platform
from alphapanda.commands.asking import connected, new_request_id
from alphapanda.commands.console import fail, out, working
from alphapanda.commands.finding import Target, why_no_answer
from alphapanda.commands.repairing import RECONCILE, progress, run_on_stopped, settings_and_folder
from alphapanda.embedded.layout import Layout
from alphapanda.mesh.identity import OF_SERVICES
from alphapanda.settings.model import Settings
from panda.ops.v1.ops_pb2 import CreateBackupRequest, CreateBackupResponse
from panda.options.v1 import options_pb2 as options

MEGABYTE: Final = 1_000_000


def run_backup(folder: Path, data_dir: Path | None, config: Path | None) -> None:
    """Runs `alphapanda backup`: asks the platform that runs on the data directory, or works on it where it is stopped."""
    settings, data = settings_and_folder(data_dir, config)
    wanted = folder.expanduser().resolve()
    run_on_stopped(_backup(settings, data, wanted), settings, data)


def run_restore(folder: Path, data_dir: Path | None, config: Path | None) -> None:
    """Runs `alphapanda restore`."""
    settings, data = settings_and_folder(data_dir, config)
    run_on_stopped(_restore(settings, folder.expanduser().resolve(), data), settings, data)


async def _backup(settings: Settings, data: Path, folder: Path) -> None:
    if not Layout(data).postgres_cluster.exists():
        fail(f"{data} has no database to back up; name the data directory with --data-dir")
    if (port := port_of_running(data)) is not None:
        known = with_known_secret(settings, Layout(data))
        security = open_security(known, permissions=OF_SERVICES | {options.PERMISSION_OPERATE}).own
        written = await _asked(Target(f"{settings.api.host}:{port}", security=security), folder)
        _say(written.folder, written.bytes)
        return
    require_empty(folder, "backup folder")
    async with stopped_platform(settings, data, progress) as platform:
        progress("writing the backup")
        backup = await backup_of_stopped(platform, folder)
    _say(str(backup.folder), backup.size)


async def _asked(target: Target, folder: Path) -> CreateBackupResponse:
    """Has a running platform write the backup; where that takes longer than a call may, the same request waits on."""
    request = CreateBackupRequest(request_id=new_request_id(), folder=str(folder))
    with working("the running platform writes the backup"):
        async with connected(target) as services:
            while True:
                try:
                    return await services.ops.CreateBackup(request)
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                        fail(why_no_answer(target, services.asked, error))


async def _restore(settings: Settings, backup: Path, data: Path) -> None:
    restored = await restore(settings, backup, data, progress)
    manifest = restored.manifest
    taken = f"{manifest.taken_at} by version {manifest.program}"
    out.print(f"restored {data} from {backup}, taken at {taken}", markup=False, soft_wrap=True)
    out.print(RECONCILE, markup=False, soft_wrap=True)


def _say(folder: str, size: int) -> None:
    out.print(f"wrote {folder}, {size / MEGABYTE:.1f} MB", markup=False, soft_wrap=True)
    out.print(
        f"bring it back with `alphapanda restore {folder} --data-dir FOLDER`", markup=False, soft_wrap=True
    )
