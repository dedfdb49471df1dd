"""What a chaos run leaves behind: all that the checker is given, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from tests.chaos.evidence import Line


class Interval(NamedTuple):
    """From one time to another, in seconds since the Unix epoch."""

    began: float
    ended: float

    def meets(self, began: float, ended: float) -> bool:
        """Whether it has a moment in common with another."""
        return self.began <= ended and began <= self.ended


@dataclass(slots=True)
class Asked:
    """One wish of a client, however often it was asked, and what it was told in the end."""

    kind: str
    """"task", "bulk", "queue" (a job for executors), "job", "run", "cancel" or "read" (of a task that was acknowledged)."""

    key: str
    """The idempotency key."""

    asked_at: float
    names: list[str] = field(default_factory=list)
    """Of the tasks that it makes: nobody else's."""

    parents: list[str] = field(default_factory=list)
    """Ids of tasks that they wait for."""

    expected: str = "succeeded"
    """The state that they end in, unless they are cancelled."""

    target: str = ""
    """What is to be cancelled, triggered or read."""

    answered_at: float = 0.0
    """When it was acknowledged; 0: it never was."""

    answers: list[list[str]] = field(default_factory=list)
    """The ids in each acknowledgement, of the first call and of its repetitions."""

    failures: list[str] = field(default_factory=list)
    """How each call failed that did."""

    refused: bool = False
    """The answer was a definite no."""

    @property
    def acknowledged(self) -> bool:
        """Whether the client was told that it is done."""
        return bool(self.answers)


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim of an executor, and what it was told of it."""

    task: str
    executor: str
    claimed_at: float
    """When the answer was there."""

    renewed: tuple[float, ...] = ()
    """When each confirmed heartbeat was sent; the claim itself comes first."""

    completed_at: float = 0.0
    """When the completion was acknowledged; 0: it never was."""

    completing_at: float = 0.0
    """When it was first asked to be completed."""


@dataclass(frozen=True, slots=True)
class RecordedTask:
    """A task as PostgreSQL has it."""

    id: str
    name: str
    state: str
    attempt: int
    kind: str
    outcome: str = ""
    run: str = ""
    key: str = ""
    worker: str = ""
    output: str = ""


@dataclass(frozen=True, slots=True)
class RecordedAttempt:
    """An attempt that was followed by another, as PostgreSQL has it."""

    task: str
    number: int
    outcome: str
    ended_at: float


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A run as PostgreSQL has it."""

    id: str
    job: str
    state: str
    due_at: float | None = None


@dataclass(frozen=True, slots=True)
class RecordedFire:
    """What became of a due time, as PostgreSQL has it."""

    job: str
    due_at: float
    run: str
    """Empty: none."""

    skip_reason: str = ""


@dataclass(frozen=True, slots=True)
class ScheduledJob:
    """A job that fires every whole second, as its client knows it."""

    id: str
    policy: str
    """"allow", "forbid" or "queue"."""

    made: Interval
    """From asking for it to being told that it is there."""

    paused: Interval
    """From asking for its pause to being told that it rests."""


@dataclass(frozen=True, slots=True)
class Node:
    """A task of a job, as the harness made it."""

    parents: tuple[str, ...] = ()
    rule: str = "all_success"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that was done to the cluster."""

    kind: str
    target: str
    began: float
    healed: float


@dataclass
class History:
    """Everything."""

    seconds: float = 0.0
    """How long there was load."""

    seed: int = 0
    fault_every_s: float = 0.0

    asked: list[Asked] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    evidence: list[Line] = field(default_factory=list)
    live: list[RecordedTask] = field(default_factory=list)
    """Tasks that have not ended."""

    ended: list[RecordedTask] = field(default_factory=list)
    attempts: list[RecordedAttempt] = field(default_factory=list)
    runs: list[RecordedRun] = field(default_factory=list)
    fires: list[RecordedFire] = field(default_factory=list)
    schedules: list[ScheduledJob] = field(default_factory=list)
    graphs: dict[str, dict[str, Node]] = field(default_factory=dict)
    """By job: its tasks by their keys."""

    stuck: bool = False
    """Whether clients still waited for answers, long after everything was healed."""

    faults: list[Fault] = field(default_factory=list)
    killed: dict[int, float] = field(default_factory=dict)
    """When each process ended that was ended, by its id."""

    stopped: dict[int, list[Interval]] = field(default_factory=dict)
    unlinked: dict[int, list[Interval]] = field(default_factory=dict)
    """When links of each process were broken, by its id."""


def encode(history: History) -> bytes:
    """Write a history as JSON, to be judged again later."""
    return msgspec.json.encode(history)


def decode(text: bytes) -> History:
    """Read what `encode` wrote."""
    return msgspec.json.decode(text, type=History)
