"""A script that root runs to start PROGRAM as user UID and group GID, because PostgreSQL refuses root.

usage: python -I -S unprivileged.py UID GID PROGRAM [ARGUMENT…]

The data directory and the program may be below a folder that only root may enter (/root). Instead of opening that
folder to all users, the program keeps one of root's capabilities: to enter folders and read files
(CAP_DAC_READ_SEARCH; CAP_DAC_OVERRIDE in containers, which lack the former). Without either it refuses to run.
Other users' processes can't reach the cluster, because the folder above it stays root's.
"""

import ctypes
import os
import sys
from pathlib import Path

CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
LINUX_CAPABILITY_VERSION_3 = 0x20080522


def permitted_capabilities() -> int:
    """Returns the bit set of capabilities that this process may use; 0 where the system has none."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapPrm:")), 0)


def keep(libc: ctypes.CDLL, capability: int) -> None:
    """Drops every capability except `capability`, which the executed program inherits."""
    bits = 1 << capability
    header = (ctypes.c_uint32 * 2)(LINUX_CAPABILITY_VERSION_3, 0)
    effective_permitted_inheritable = (ctypes.c_uint32 * 6)(bits, bits, bits, 0, 0, 0)
    libc.capset(header, effective_permitted_inheritable)
    libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0)


def main(uid: int, gid: int, program: str, arguments: list[str]) -> None:
    """Replaces this process by the program, or exits with one line on standard error; never returns."""
    permitted = permitted_capabilities()
    kept = next((c for c in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE) if permitted >> c & 1), None)
    if kept is None:
        sys.exit(
            "root has no right here to let another user into its folders: run Alpha Panda as a user, not as root"
        )
    libc = ctypes.CDLL(None)
    try:
        libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        keep(libc, kept)
        os.execv(program, [program, *arguments])  # noqa: S606  no shell is wanted
    except OSError as error:
        sys.exit(f"can't run {program} as user {uid}: {error.strerror}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
