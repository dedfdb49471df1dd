"""Becomes a PostgreSQL program: gives up root, ties itself to the life of its parent, then executes the program.

Run as a script, `python -I -S launch.py UID GID CAPABILITY PARENT SIGNAL PROGRAM [ARGUMENT...]`, with UID and CAPABILITY -1
for "stay as you are" and "none". It is a process of its own because the alternative, a `preexec_fn`, runs Python code between
fork and exec, where a thread of the parent (gRPC has many) may have left any lock taken for good.

The order matters: a change of user clears the parent-death signal, so that is set last; and the parent may have died before
it was set, so that is checked after.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAPABILITY_VERSION_3 = 0x20080522


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _set_capability(libc: ctypes.CDLL, capability: int) -> None:
    """Reduce this process to one capability, permitted, effective and inheritable."""
    mask = 1 << capability
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _check(libc.capset(header, struct.pack("=6I", low, low, low, high, high, high)), "capset")


def _become(libc: ctypes.CDLL, uid: int, gid: int, capability: int) -> None:
    if capability >= 0:
        _check(libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0), "keep capabilities")
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if capability >= 0:
        _set_capability(libc, capability)
        # Ambient capabilities, unlike the others, survive the execution of an ordinary program.
        _check(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0), "raise capability")


def main(arguments: list[str]) -> None:
    """Do as the module says; returns only by exiting or executing. Raises OSError, which Python prints."""
    uid, gid, capability, parent, signal_number = (int(value) for value in arguments[:5])
    program = arguments[5:]
    libc = ctypes.CDLL(None, use_errno=True)
    if uid >= 0:
        _become(libc, uid, gid, capability)
    _check(libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "set parent-death signal")
    if os.getppid() != parent:
        sys.exit("the parent process is gone")
    os.execv(program[0], program)  # noqa: S606 - executing a given program is the point


if __name__ == "__main__":
    main(sys.argv[1:])
