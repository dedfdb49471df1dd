"""Histories forged for the checker's own tests: good ones, for the tests to spoil."""

from __future__ import annotations

from tests.chaos.checker import check
from tests.chaos.evidence import END, FAILED, SAVED, START, SUCCEEDED, Line
from tests.chaos.findings import Promise
from tests.chaos.history import (
    Asked,
    Claim,
    History,
    Interval,
    Node,
    RecordedAttempt,
    RecordedFire,
    RecordedRun,
    RecordedTask,
    ScheduledJob,
)

WORKER, OTHER = 11, 12


def body(task: str, attempt: int, began: float, ended: float | None, *, note: str = SUCCEEDED, pid: int = WORKER, run: str = "",
         seen: int = -1, saved: tuple[tuple[float, int], ...] = ()) -> list[Line]:  # fmt: skip
    """The lines of one execution; its token is its attempt's number."""
    lines = [Line(START, began, task, attempt, pid, attempt, run, value=seen)]
    lines += [Line(SAVED, at, task, attempt, pid, attempt, run, value=value) for at, value in saved]
    if ended is not None:
        lines.append(Line(END, ended, task, attempt, pid, attempt, run, note))
    return lines


def task(
    task_id: str, *, state: str = "succeeded", attempt: int = 1, run: str = "", key: str = "", output: str = ""
) -> RecordedTask:
    """A row; a task that succeeded has the output of its last attempt's lease."""
    outcome = state if state in {"succeeded", "failed"} else ""
    return RecordedTask(task_id, f"n-{task_id}", state, attempt, "function", outcome, run, key, "w", output or f'"{attempt}"')


def asked(task_id: str, **fields: object) -> Asked:
    """A wish for one task, acknowledged."""
    wish = Asked("task", f"k-{task_id}", 1.0, [f"n-{task_id}"], answers=[[task_id]], answered_at=1.1)
    for name, value in fields.items():
        setattr(wish, name, value)
    return wish


def broken(history: History) -> set[Promise]:
    """Which promises the checker finds broken."""
    return {violation.promise for violation in check(history).violations}


def simple() -> History:
    """One task, submitted, run and recorded."""
    return History(asked=[asked("a")], ended=[task("a")], evidence=body("a", 1, 2, 3))


def retried() -> History:
    """One task whose first attempt was lost with its worker, and whose second succeeded."""
    return History(
        asked=[asked("a")],
        ended=[task("a", attempt=2)],
        attempts=[RecordedAttempt("a", 1, "lost", 9.0)],
        evidence=[*body("a", 1, 2, None), *body("a", 2, 10, 11, pid=OTHER)],
        killed={WORKER: 4.0},
    )


def graph(
    child_began: float, *, rule: str = "all_success", parent_state: str = "succeeded", parent_ended: float = 4.0
) -> History:
    """A run of a child after one parent."""
    note = {"succeeded": SUCCEEDED, "failed": FAILED}[parent_state]
    return History(
        runs=[RecordedRun("r", "job", "succeeded")],
        asked=[Asked("run", "k", 1.0, target="job", answers=[["r"]], answered_at=2.0)],
        graphs={"job": {"p": Node(), "c": Node(("p",), rule)}},
        ended=[task("a", run="r", key="p", state=parent_state), task("b", run="r", key="c")],
        evidence=[*body("a", 1, 2, parent_ended, note=note, run="r"), *body("b", 1, child_began, child_began + 1, run="r")],
    )


def ticking(policy: str = "allow", *, late: float = 0.1, lasting: float = 0.2) -> History:
    """A job that fired at 11, 12 and 13, each run's body beginning so late and lasting so long."""
    history = History(schedules=[ScheduledJob("j", policy, Interval(10.1, 10.4), Interval(13.6, 13.8))])
    for due in (11, 12, 13):
        run_id, task_id = f"r{due}", f"t{due}"
        history.fires.append(RecordedFire("j", due, run_id))
        history.runs.append(RecordedRun(run_id, "j", "succeeded", due))
        history.ended.append(task(task_id, run=run_id, key="tick"))
        history.evidence += body(task_id, 1, due + late, due + late + lasting, run=run_id)
    return history


def claimed(*claims: Claim, worker: str = "e1") -> History:
    """A job for executors, recorded as completed by one."""
    row = RecordedTask("a", "n-a", "succeeded", 1, "binary", "succeeded", worker=worker)
    return History(asked=[asked("a", kind="queue")], ended=[row], claims=list(claims))
