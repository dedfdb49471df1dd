"""Schedules, in the manner of the Chronos checker: which due times there had to be, what became of each, and how late it began.

A target is each whole second between the acknowledgement of a job and the request to pause it; nobody is asked which they were.
Each needs exactly one recorded fire: one run, whose body began in time, or one skip with a reason that the job's policy knows.
What is extra counts as broken, not only what is missing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil, floor, inf
from typing import TYPE_CHECKING, Final

from tests.chaos.evidence import SUCCEEDED
from tests.chaos.findings import Promise, Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.executions import Evidence
    from tests.chaos.history import Fault, History, RecordedFire, ScheduledJob

EPSILON_S: Final = 1.0
"""How late a fire may be while nothing is wrong."""

TAKE_OVER_S: Final = 12.0
"""How long after a fault is healed its effects may last: a silent leader is replaced after 5 s, and what a dead worker held comes
back after 7 s at most."""

_ELSEWHERE: Final = frozenset({"kill a follower", "kill a gateway", "kill Redis"})
"""Faults that no schedule may feel; nor those of clients' and gateways' links."""

_SKIPS: Final = {
    "allow": frozenset[str](),
    "forbid": frozenset({"another run goes on"}),
    "queue": frozenset({"too many runs wait", "paused"}),
}
"""Why the due times of each policy may be skipped."""


@dataclass
class Lateness:
    """Seconds from each due time to the first line of its run's body, for jobs that let runs go side by side."""

    calm: list[float] = field(default_factory=list)
    """While nothing was wrong."""

    troubled: list[float] = field(default_factory=list)
    """During a fault of a leader, a worker or PostgreSQL, or until `TAKE_OVER_S` after it."""


def check(history: History, evidence: Evidence) -> tuple[Lateness, list[Violation]]:
    """Look at every scheduled job."""
    lateness = Lateness()
    violations: list[Violation] = []
    for job in history.schedules:
        found = [fire for fire in history.fires if fire.job == job.id]
        violations += _targets(job, found)
        violations += _runs(history, job, found, evidence)
        if job.policy == "allow":
            violations += _in_time(history, found, evidence, lateness)
        else:
            violations += _one_by_one(history, job, evidence)
        if job.policy == "forbid":
            violations += _skipped_in_vain(history, job, found, evidence)
    return lateness, violations


def _targets(job: ScheduledJob, found: list[RecordedFire]) -> Iterator[Violation]:
    """Each due time has one record, and there are no others."""
    counted = Counter(fire.due_at for fire in found)
    for due in range(ceil(job.made.ended), floor(job.paused.began) + 1):
        # One on the very edge may belong to either side.
        if job.made.ended < due < job.paused.began and counted[float(due)] != 1:
            yield Violation(Promise.FIRE, f"{job.policy} job: due time {due} has {counted[float(due)]} records")
    for fire in found:
        if fire.due_at != floor(fire.due_at) or not job.made.began <= fire.due_at <= job.paused.ended:
            yield Violation(Promise.FIRE, f"{job.policy} job: nothing is due at {fire.due_at}")
        if bool(fire.run) == bool(fire.skip_reason):
            yield Violation(Promise.FIRE, f"{job.policy} job: {fire} is neither a run nor a skip")
        if fire.skip_reason and fire.skip_reason not in _SKIPS[job.policy]:
            yield Violation(Promise.FIRE, f"{job.policy} job: {fire.due_at} was skipped: {fire.skip_reason}")


def _runs(history: History, job: ScheduledJob, found: list[RecordedFire], evidence: Evidence) -> Iterator[Violation]:
    """Each run of the job belongs to one due time, and a body ran for it."""
    runs = {run.id: run for run in history.runs if run.job == job.id}
    told = {fire.run: fire for fire in found if fire.run}
    dues = Counter(run.due_at for run in runs.values())
    for due, count in dues.items():
        if due is None or count > 1:
            yield Violation(Promise.FIRE, f"{job.policy} job: due time {due} has {count} runs")
    for run_id, fire in told.items():
        run = runs.get(run_id)
        if run is None or run.due_at != fire.due_at:
            yield Violation(Promise.FIRE, f"{job.policy} job: {fire} names a run that is not its own: {run}")
        elif run.state != "succeeded" or not any(one.note == SUCCEEDED for one in evidence.by_run.get(run_id, ())):
            yield Violation(Promise.FIRE, f"{job.policy} job: the run of {fire.due_at} is {run.state}, or no body ran for it")
    for run_id in runs.keys() - told.keys():
        yield Violation(Promise.FIRE, f"{job.policy} job: run {run_id} belongs to no due time")


def _in_time(history: History, found: list[RecordedFire], evidence: Evidence, lateness: Lateness) -> Iterator[Violation]:
    for fire in found:
        began = min((one.began for one in evidence.by_run.get(fire.run, ())), default=None)
        if not fire.run or began is None:
            continue
        late = began - fire.due_at
        troubles = _troubles(history, fire.due_at)
        (lateness.troubled if troubles else lateness.calm).append(late)
        over_at = max((fault.healed + TAKE_OVER_S for fault in troubles), default=fire.due_at)
        if began > max(over_at, fire.due_at) + EPSILON_S:
            yield Violation(Promise.LATE, f"due time {fire.due_at} began {late:.3f} s late")


def _skipped_in_vain(history: History, job: ScheduledJob, found: list[RecordedFire], evidence: Evidence) -> Iterator[Violation]:
    """While nothing is wrong, a due time is skipped only because a body ran, or had just ended."""
    ends = [one.ended or inf for run in history.runs if run.job == job.id for one in evidence.by_run.get(run.id, ())]
    begins = [one.began for run in history.runs if run.job == job.id for one in evidence.by_run.get(run.id, ())]
    for fire in found:
        if not fire.skip_reason or _troubles(history, fire.due_at):
            continue
        busy = any(
            began <= fire.due_at + EPSILON_S and fire.due_at <= ended + EPSILON_S
            for began, ended in zip(begins, ends, strict=True)
        )
        if not busy:
            yield Violation(Promise.FIRE, f"{job.policy} job: due time {fire.due_at} was skipped, and no run went on")


def _troubles(history: History, due_at: float) -> list[Fault]:
    """The faults whose effects a due time may meet."""
    met = [fault for fault in history.faults if fault.began - EPSILON_S <= due_at <= fault.healed + TAKE_OVER_S]
    return [fault for fault in met if fault.kind not in _ELSEWHERE and not fault.target.startswith(("clients", "gateway"))]


def _one_by_one(history: History, job: ScheduledJob, evidence: Evidence) -> Iterator[Violation]:
    """No run of a job that forbids it begins while another has not ended, by what counts of their bodies."""
    attempts = {task.run: task.attempt for task in history.ended if task.run}
    spans = defaultdict[str, list[tuple[float, float]]](list)
    for run in history.runs:
        if run.job == job.id:
            for one in evidence.by_run.get(run.id, ()):
                if one.attempt == attempts.get(run.id) and one.ended is not None:
                    first = min(other.began for other in evidence.by_run[run.id])
                    spans[run.id].append((first, one.ended))
    in_order = sorted(span for found in spans.values() for span in found)
    for (_, over_at), (began, _) in pairwise(in_order):
        if began < over_at:
            yield Violation(Promise.ORDER, f"{job.policy} job: a run began at {began:.3f}, before another ended at {over_at:.3f}")
