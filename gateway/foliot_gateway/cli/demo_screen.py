"""What the demonstration shows: progress while the pipeline runs, and tables at its end.

On a terminal the progress is a block of lines that is drawn again in place (with the control sequences of ECMA-48); elsewhere
each change is a line of its own, so that a log of it can be read.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_BAR_CELLS: Final = 24
_ERASE_LINE: Final = "\x1b[2K"
_UP: Final = "\x1b[{}A"
_STYLES: Final = {"SUCCEEDED": "32", "FAILED": "31", "CANCELLED": "31", "SKIPPED": "33", "RUNNING": "36", "bold": "1", "dim": "2"}

ENDED: Final = frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "SKIPPED"})
"""The statuses of a task that come last."""


@dataclass(frozen=True, slots=True)
class TaskProgress:
    """Where a task of the pipeline stands."""

    status: str
    attempts: int
    error: str | None


class Screen:
    """Writes to a terminal or a file; `is_terminal` says which."""

    def __init__(self, out: TextIO, *, is_terminal: bool | None = None) -> None:
        self._out = out
        self._is_terminal = out.isatty() and os.environ.get("TERM") != "dumb" if is_terminal is None else is_terminal
        # https://no-color.org: set and not empty, it asks for no colours.
        self._is_coloured = self._is_terminal and not os.environ.get("NO_COLOR")

    @property
    def is_terminal(self) -> bool:
        """Whether what was written can be drawn over."""
        return self._is_terminal

    def say(self, text: str = "") -> None:
        """Write a line."""
        self._out.write(text + "\n")
        self._out.flush()

    def redraw(self, lines: Sequence[str], *, over: int) -> None:
        """Write lines over the last `over` ones."""
        up = _UP.format(over) if over else ""
        self._out.write(up + "".join(f"{_ERASE_LINE}{line}\n" for line in lines))
        self._out.flush()

    def styled(self, text: str, style: str) -> str:
        """Answer the text in a style, if there are any here."""
        code = _STYLES.get(style)
        return f"\x1b[{code}m{text}\x1b[0m" if self._is_coloured and code else text

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]], *, right: frozenset[int], styled: int = -1) -> None:
        """Write a table; the columns of `right` are aligned to the right, the one of `styled` is in the style of its text."""
        widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

        def line(row: Sequence[str], style: Callable[[int, str], str]) -> str:
            cells = (
                style(column, cell.rjust(width) if column in right else cell.ljust(width))
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            return "  " + "  ".join(cells).rstrip()

        self.say(line(head, lambda _, cell: self.styled(cell, "bold")))
        for row in rows:
            self.say(line(row, lambda column, cell: self.styled(cell, cell.strip()) if column == styled else cell))


class Progress:
    """Follows the tasks of a run on a screen. `stages` groups their ids under a name, in the order to show them in."""

    def __init__(self, screen: Screen, stages: Mapping[str, Sequence[str]]) -> None:
        self._screen = screen
        self._stages = stages
        self._shown: dict[str, TaskProgress] = {}
        self._lines = 0

    def show(self, tasks: Mapping[str, TaskProgress], *, elapsed_s: float) -> None:
        """Show where the tasks stand now."""
        if self._screen.is_terminal:
            lines = [self._stage_line(stage, [tasks[id_] for id_ in ids]) for stage, ids in self._stages.items()]
            lines.append(f"  {self._screen.styled(f'{elapsed_s:5.1f} s', 'dim')}")
            self._screen.redraw(lines, over=self._lines)
            self._lines = len(lines)
        else:
            for id_, task in tasks.items():
                told = _change(self._shown.get(id_), task)
                if told:
                    self._screen.say(f"  {elapsed_s:6.2f} s  {id_:10} {told}")
        self._shown = dict(tasks)

    def _stage_line(self, stage: str, tasks: Sequence[TaskProgress]) -> str:
        counts = Counter(task.status for task in tasks)
        ended = sum(counts[status] for status in ENDED)
        filled = _BAR_CELLS * ended // len(tasks)
        bar = self._screen.styled("#" * filled, "FAILED" if counts["FAILED"] else "SUCCEEDED") + "." * (_BAR_CELLS - filled)
        counts["retried"] = sum(1 for task in tasks if task.attempts > 1)
        told = ("RUNNING", "FAILED", "SKIPPED", "CANCELLED", "retried")
        notes = [f"{counts[status]} {status.lower()}" for status in told if counts[status]]
        notes += [f"waits for its retry: {task.error}" for task in tasks if task.status == "PENDING" and task.error]
        return f"  {stage:8} [{bar}] {ended:3}/{len(tasks):<3} {', '.join(notes)}"[: self._width()]

    @staticmethod
    def _width() -> int:
        # A line that wraps would take two, and the block could no longer be drawn over. Colours count too: shorter is harmless.
        try:
            return os.get_terminal_size().columns - 1
        except OSError:
            return 100


def _change(before: TaskProgress | None, now: TaskProgress) -> str:
    """Say what is new of a task, or nothing."""
    if before == now:
        return ""
    if now.status in ENDED:
        attempts = f" at attempt {now.attempts}" if now.attempts > 1 else ""
        return f"{now.status.lower()}{attempts}" + (f": {now.error}" if now.error and now.status != "SUCCEEDED" else "")
    if now.status == "PENDING" and now.error and (before is None or before.error != now.error):
        return f"failed at attempt {now.attempts}, is to be retried: {now.error}"
    return ""
