"""Runs a `foliot` command that ends with its parent: `python -m foliot_gateway.cli.child PARENT COMMAND ...`.

Its standard input holds the API key that the command is to use; empty: none.

A module of its own because the alternative, a `preexec_fn`, runs Python code between fork and exec, where a thread of the parent
(gRPC has many) may have left any lock taken for good.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from foliot_gateway.cli.main import main

_PR_SET_PDEATHSIG = 1
"""prctl(2): a signal for this process when its parent dies."""


def run(arguments: list[str]) -> int:
    """Tie this process to its parent, whose id comes first, and run the command."""
    parent, *command = arguments
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):  # it died before the kernel was told
        return 1
    if api_key := sys.stdin.read():
        os.environ["FOLIOT_API_KEY"] = api_key  # for the settings alone: the environment that others may read stays without it
    return main(command)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
