"""The checker: what was promised, judged by what bodies wrote down and by what PostgreSQL has. Pure: a history in, a verdict out.

It believes no process about itself. A body's lines say when it ran; PostgreSQL's rows say what became of it; the clients' notes
say what was promised; the nemesis's notes say what was done to whom. Where these do not go together, a promise is broken.

What is excused, and nothing else: a holder whose process stood still could not stop in time, and may go on for `STOP_WITHIN_S`
once it wakes up; a worker that was killed, stood still or was cut off may lose attempts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from tests.chaos import claims, fires, order
from tests.chaos.evidence import FAILED, SUCCEEDED
from tests.chaos.executions import Evidence, Execution
from tests.chaos.findings import Promise, Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.fires import Lateness
    from tests.chaos.history import Asked, History, RecordedTask

STOP_WITHIN_S: Final = 6.0
"""From waking up to having stopped what is no longer held: 5 s of grace, and 1 s to notice."""

CANCEL_WITHIN_S: Final = 8.0
"""From the acknowledgement of a cancellation to when no worker may start the task: the word may be lost with the leader, and then
the worker learns it from the next (up to 7 s), or gives up its leases before that."""

_ENDS: Final = frozenset({"succeeded", "failed", "cancelled", "skipped"})

_TOO_LATE: Final = "FAILED_PRECONDITION"
"""How a cancellation is refused when the task has ended."""

_WITH_BODIES: Final = frozenset({"function", "command"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checker found."""

    violations: list[Violation]
    counts: dict[str, int]
    lateness: Lateness
    failures: dict[str, int] = field(default_factory=dict)
    """Calls that failed, by how: they broke no promise, if what was repeated was done once."""

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        return not self.violations


def check(history: History, *, strict_lateness: bool = True) -> Verdict:
    """Judge a history; lateness counts as a broken promise only if `strict_lateness` says so."""
    judge = _Judge(history)
    lateness, late = fires.check(history, judge.evidence)
    late_ones = [violation for violation in late if violation.promise is Promise.LATE]
    violations = [
        *judge.acknowledged(),
        *judge.one_effect(),
        *judge.recorded_once(),
        *judge.records_and_bodies(),
        *judge.holders(),
        *judge.checkpoints(),
        *judge.cancelled(),
        *order.check(history, judge.evidence),
        *claims.check(history),
        *(violation for violation in late if strict_lateness or violation not in late_ones),
    ]
    return Verdict(violations, _counts(history, judge.evidence, violations), lateness, _failures(history))


def _counts(history: History, evidence: Evidence, violations: list[Violation]) -> dict[str, int]:
    broken = Counter(violation.promise for violation in violations)
    lost_attempts = sum(attempt.outcome == "lost" for attempt in history.attempts)
    making = [wish for wish in history.asked if wish.names]
    return {
        "submitted": sum(len(wish.names) for wish in making),
        "acknowledged": sum(len(wish.names) for wish in making if wish.acknowledged),
        "tasks ended": len(history.ended),
        "executions": sum(len(ones) for ones in evidence.by_task.values()),
        "attempts lost and run again": lost_attempts,
        "runs": len(history.runs),
        "due times": len(history.fires),
        "faults": len(history.faults),
        "calls failed": sum(len(wish.failures) for wish in history.asked),
        **{str(promise): broken[promise] for promise in Promise},
    }


def _failures(history: History) -> dict[str, int]:
    return dict(Counter(failure for wish in history.asked for failure in wish.failures).most_common())


class _Judge:
    """Looks at one history."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.evidence = Evidence(history.evidence)
        self.tasks: dict[str, RecordedTask] = {task.id: task for task in (*history.live, *history.ended)}
        self._by_name: defaultdict[str, list[RecordedTask]] = defaultdict(list)
        for task in self.tasks.values():
            self._by_name[task.name].append(task)
        self._to_cancel = {wish.target for wish in history.asked if wish.kind == "cancel"}

    # ---- what was acknowledged

    def acknowledged(self) -> Iterator[Violation]:
        """What was acknowledged is there, and has ended as it should."""
        if self.history.stuck:
            yield Violation(Promise.LOST, "clients were not answered any more, long after everything was healed")
        for task in self.history.live:
            yield Violation(Promise.LOST, f"task {task.id} ({task.name}) is still {task.state}")
        for wish in self.history.asked:
            # What is asked for is there and makes sense: only a cancellation may come too late.
            if wish.refused and not (wish.kind == "cancel" and wish.failures[-1] == _TOO_LATE):
                yield Violation(Promise.LOST, f"{wish.kind} {wish.key or wish.target} was refused: {wish.failures[-1]}")
        runs = {run.id: run for run in self.history.runs}
        for wish in self.history.asked:
            for made in wish.answers[0] if wish.answers else ():
                if wish.kind == "run" and made not in runs:
                    yield Violation(Promise.LOST, f"run {made} was acknowledged at {wish.answered_at:.3f} and is not there")
                if wish.names:
                    yield from self._made(wish, made)
        for run in runs.values():
            if run.state in {"pending", "running"}:
                yield Violation(Promise.LOST, f"run {run.id} is still {run.state}")

    def _made(self, wish: Asked, made: str) -> Iterator[Violation]:
        task = self.tasks.get(made)
        if task is None:
            yield Violation(Promise.LOST, f"task {made} was acknowledged at {wish.answered_at:.3f} and is not there")
        elif task.state in _ENDS and task.state != wish.expected and not (made in self._to_cancel and task.state == "cancelled"):
            text = f"task {made} ({task.name}) is {task.state} ({task.outcome}) instead of {wish.expected}"
            yield Violation(Promise.RECORD, text)

    def one_effect(self) -> Iterator[Violation]:
        """However often something was asked for with one key, it was done once."""
        for wish in self.history.asked:
            if any(answer != wish.answers[0] for answer in wish.answers):
                yield Violation(Promise.EFFECT, f"{wish.kind} {wish.key} was answered differently: {wish.answers}")
            for name in wish.names:
                made = self._by_name[name]
                if len(made) > 1:
                    yield Violation(Promise.EFFECT, f"{wish.kind} {wish.key} made {len(made)} tasks named {name}")
        asked = Counter(wish.target for wish in self.history.asked if wish.kind == "run" and not wish.refused)
        made_runs = Counter(run.job for run in self.history.runs if run.job in self.history.graphs)
        for job, count in made_runs.items():
            if count > asked[job]:
                yield Violation(Promise.EFFECT, f"job {job} was triggered {asked[job]} times and has {count} runs")

    # ---- attempts

    def recorded_once(self) -> Iterator[Violation]:
        """Each attempt of a task has one record: rows of its own for all but the last, the task's row for that."""
        both = {task.id for task in self.history.live} & {task.id for task in self.history.ended}
        for task_id in both:
            yield Violation(Promise.TWICE, f"task {task_id} is recorded as ended and as not")
        if len(self.history.ended) != len({task.id for task in self.history.ended}):
            yield Violation(Promise.TWICE, "a task is recorded as ended twice")
        numbers: defaultdict[str, list[int]] = defaultdict(list)
        for attempt in self.history.attempts:
            numbers[attempt.task].append(attempt.number)
        for task in self.history.ended:
            # An end that is no attempt's (cancelled while it waited) leaves the last attempt in a row of its own.
            found = sorted(numbers[task.id])
            wanted = list(range(1, task.attempt + 1))
            if found not in (wanted, wanted[:-1]):
                yield Violation(Promise.TWICE, f"task {task.id} has {task.attempt} attempts, recorded are {found} and the last")

    def records_and_bodies(self) -> Iterator[Violation]:
        """What is recorded is what the bodies wrote down, and what they wrote down is recorded."""
        outcomes = {(one.task, one.number): one for one in self.history.attempts}
        for task in self.history.ended:
            if task.kind in _WITH_BODIES and task.state in {"succeeded", "failed"} and task.attempt:
                yield from self._last_attempt(task)
        for attempt in outcomes.values():
            told = self.evidence.of(attempt.task, attempt.number)
            if attempt.outcome == FAILED and not any(one.note == FAILED for one in told):
                yield Violation(
                    Promise.RECORD, f"attempt {attempt.number} of {attempt.task} is recorded as failed; no body failed"
                )
            if attempt.outcome == "lost":
                for one in told:
                    yield from self._lost(one, attempt.ended_at)
        for task_id, executions in self.evidence.by_task.items():
            known = self.tasks.get(task_id)
            if known is None:
                yield Violation(Promise.RECORD, f"task {task_id} ran and is not there: {executions[0]}")
            elif any(one.attempt > known.attempt for one in executions):
                yield Violation(Promise.RECORD, f"task {task_id} has {known.attempt} attempts, but ran {executions[-1]}")

    def _last_attempt(self, task: RecordedTask) -> Iterator[Violation]:
        wanted = SUCCEEDED if task.state == "succeeded" else FAILED
        told = [one for one in self.evidence.of(task.id, task.attempt) if one.note == wanted]
        if not told:
            yield Violation(Promise.RECORD, f"attempt {task.attempt} of {task.id} is recorded as {wanted}; no body {wanted}")
        elif wanted == SUCCEEDED and task.kind == "function" and task.output.strip('"') not in {str(one.token) for one in told}:
            yield Violation(Promise.RECORD, f"task {task.id} has the output of another lease than its last, {told[-1]}")

    def _lost(self, one: Execution, lost_at: float) -> Iterator[Violation]:
        """A result that a worker had, and kept alive and linked, is not lost."""
        if one.note in {SUCCEEDED, FAILED} and one.ended is not None and one.ended < lost_at and not self._excused(one, lost_at):
            yield Violation(Promise.RECORD, f"task {one.task}: {one} is recorded as lost, though its worker had its result")

    def _excused(self, one: Execution, until: float) -> bool:
        """Whether its worker died, stood still or was cut off between its start and a time."""
        history = self.history
        troubles = [*history.stopped.get(one.pid, ()), *history.unlinked.get(one.pid, ())]
        return history.killed.get(one.pid, until + 1) <= until or any(trouble.meets(one.began, until) for trouble in troubles)

    # ---- holders

    def holders(self) -> Iterator[Violation]:
        """One attempt has one lease and one body; and no body runs while another of its task does."""
        for line in self.evidence.stray:
            yield Violation(Promise.HOLDER, f"{line} comes without a start")
        for task_id, executions in self.evidence.by_task.items():
            for number, count in Counter(one.attempt for one in executions).items():
                if count > 1:
                    yield Violation(Promise.HOLDER, f"attempt {number} of {task_id} was started {count} times")
            in_order = sorted(executions, key=lambda one: one.began)
            for earlier, later in pairwise(in_order):
                if earlier.over_at(self.history) > later.began and not self._could_not_know(earlier, later):
                    yield Violation(Promise.HOLDER, f"task {task_id} has two holders: {earlier} and {later}")

    def _could_not_know(self, earlier: Execution, later: Execution) -> bool:
        over = earlier.over_at(self.history)
        return any(
            stop.meets(earlier.began, later.began) and (earlier.ended is None or over <= stop.ended + STOP_WITHIN_S)
            for stop in self.history.stopped.get(earlier.pid, ())
        )

    # ---- the rest

    def checkpoints(self) -> Iterator[Violation]:
        """An attempt is given the last checkpoint that was confirmed to those before it, or a later one."""
        for task_id, executions in self.evidence.by_task.items():
            saved = [save for one in executions for save in one.saved]
            for one in executions:
                known = max((value for at, value in saved if at < one.began), default=-1)
                if one.seen < known:
                    text = f"task {task_id}: {one} was given checkpoint {one.seen}, though {known} was confirmed"
                    yield Violation(Promise.CHECKPOINT, text)

    def cancelled(self) -> Iterator[Violation]:
        """What was cancelled stays so, and does not start any more."""
        for wish in self.history.asked:
            if wish.kind != "cancel" or not wish.acknowledged:
                continue
            task = self.tasks.get(wish.target)
            if task is None or task.state != "cancelled":
                state = "not there" if task is None else task.state
                yield Violation(Promise.CANCELLED, f"task {wish.target} was cancelled and is {state}")
            for one in self.evidence.by_task.get(wish.target, ()):
                too_late = one.began > wish.answered_at + CANCEL_WITHIN_S
                stops = self.history.stopped.get(one.pid, ())
                if too_late and not any(stop.meets(wish.answered_at, one.began) for stop in stops):
                    text = f"task {wish.target} was cancelled at {wish.answered_at:.3f}, then ran {one}"
                    yield Violation(Promise.CANCELLED, text)
