"""What the bodies of tasks write down themselves: one line of JSON for each thing that happened, in a file of each process.

The lines are appended by one write each, so a process that is killed loses none that it has written and tears none. Times are of
the machine's wall clock, which all processes of a run share and which due times are told in; the monotonic clock stands beside
it, to show that nobody moved the other. No part of Foliot reads or writes these files.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FOLDER_VARIABLE: Final = "CHAOS_EVIDENCE"
"""Names the folder in a worker's environment."""

START: Final = "start"
SAVED: Final = "saved"
END: Final = "end"

SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"
STOPPED: Final = "stopped"
"""The body was told to stop: its lease was lost, its task cancelled, or its worker ended."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line."""

    what: str
    """START, SAVED (a checkpoint was confirmed as durable) or END."""

    at: float
    """Seconds since the Unix epoch."""

    task: str
    attempt: int
    pid: int
    """The worker's process."""

    token: int = 0
    """The lease's fencing token; 0 where the body is not told it."""

    run: str = ""
    note: str = ""
    """Of an END: how it ended."""

    monotonic: float = 0.0
    """Seconds of the clock that nobody can set; 0: the body does not know it."""

    value: int = -1
    """Of a START: the checkpoint it was given; of a SAVED: the one it saved. -1: none."""


class Notebook:
    """Writes the lines of one process."""

    def __init__(self, folder: Path) -> None:
        """Open a file of this process's own in the folder."""
        self._file = os.open(folder / f"{os.getpid()}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, **fields: object) -> None:
        """Append a line: the fields of `Line`."""
        os.write(self._file, json.dumps(fields).encode() + b"\n")


def read_lines(folder: Path) -> list[Line]:
    """Read what all processes wrote, in the order of time."""
    found: list[Line] = []
    for path in folder.glob("*.jsonl"):
        for text in path.read_text(encoding="utf-8").splitlines():
            fields: dict[str, Any] = json.loads(text)
            found.append(Line(**fields))
    return sorted(found, key=lambda line: (line.at, line.what != END))


def command_line(folder: Path, *, seconds: float, exit_status: int = 0) -> str:
    """Make a shell command that takes its time, writes down its start and its end in the folder, and says its attempt."""
    told = '"task":"%s","attempt":%d,"pid":%d,"run":"%s","at":%s'
    values = '"$FOLIOT_TASK_ID" "$FOLIOT_ATTEMPT" "$PPID" "$FOLIOT_RUN_ID" "$(date +%s.%N)"'
    note = SUCCEEDED if exit_status == 0 else FAILED
    say = f"""say() {{ printf '{{"what":"%s","note":"%s",{told}}}\\n' "$1" "$2" {values} >>"{folder}/command-$$.jsonl"; }}"""
    stop = f"trap 'say {END} {STOPPED}; exit 143' TERM"
    return f"{say}; {stop}; say {START} ''; sleep {seconds:g}; say {END} {note}; echo $FOLIOT_ATTEMPT; exit {exit_status}"
