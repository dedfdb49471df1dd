"""Executions: what one body went through, put together from its lines of evidence."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

from tests.chaos.evidence import END, SAVED, START

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.chaos.evidence import Line
    from tests.chaos.history import History


@dataclass(slots=True)
class Execution:
    """One body, from its first line to its last."""

    task: str
    attempt: int
    token: int
    pid: int
    run: str
    began: float
    seen: int
    """The checkpoint it was given; -1: none."""

    ended: float | None = None
    """None: it never said so."""

    note: str = ""
    """How it ended."""

    saved: list[tuple[float, int]] = field(default_factory=list)
    """When each checkpoint was confirmed, and which."""

    def over_at(self, history: History) -> float:
        """When it was over: as it says, or with its process; infinity if neither is known."""
        if self.ended is not None:
            return self.ended
        return history.killed.get(self.pid, inf)

    def __str__(self) -> str:
        return f"attempt {self.attempt} (token {self.token:x}, worker {self.pid}, from {self.began:.3f}, {self.note or 'no end'})"


class Evidence:
    """All executions, by what they are looked up by."""

    def __init__(self, lines: Iterable[Line]) -> None:
        """Put them together; `stray` are the lines that belong to no start."""
        self.by_task: defaultdict[str, list[Execution]] = defaultdict(list)
        self.by_run: defaultdict[str, list[Execution]] = defaultdict(list)
        self.stray: list[Line] = []
        open_: dict[tuple[str, int, int, int], Execution] = {}
        for line in sorted(lines, key=lambda line: (line.at, (START, SAVED, END).index(line.what))):
            key = (line.task, line.attempt, line.token, line.pid)
            if line.what == START:
                made = Execution(line.task, line.attempt, line.token, line.pid, line.run, line.at, line.value)
                open_[key] = made
                self.by_task[line.task].append(made)
                if line.run:
                    self.by_run[line.run].append(made)
            elif key not in open_:
                self.stray.append(line)
            elif line.what == SAVED:
                open_[key].saved.append((line.at, line.value))
            else:
                ended = open_.pop(key)
                ended.ended, ended.note = line.at, line.note

    def of(self, task: str, attempt: int) -> list[Execution]:
        """The executions of one attempt: one, if all is well."""
        return [one for one in self.by_task.get(task, ()) if one.attempt == attempt]
