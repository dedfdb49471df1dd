"""What the clients of a simulation ask for: everything the API can say, sensible or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foliot_scheduler.core import commands
from foliot_scheduler.core.model import (
    ConcurrencyLimit,
    ConcurrencyPolicy,
    JobPlan,
    Kind,
    MisfirePolicy,
    Outcome,
    RetryPolicy,
    TaskPlan,
    TriggerRule,
)
from foliot_scheduler.core.transitions import TaskState
from foliot_scheduler.core.types import HOUR, MINUTE, SECOND, Micros, Project, Span, TaskId
from tests.unit.core.support import Node, job_plan, placement, plan, record_of, schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from foliot_scheduler.core.model import Task
    from tests.unit.core.dice import Dice
    from tests.unit.core.simulation import Simulation

RULES = (*(TriggerRule.ALL_SUCCESS,) * 3, *TriggerRule)
BOUNDS = {"one": 1, "two": 2, "three": 3}
"""The bound of each limit: all tasks that name the key name this one."""

PLACEMENTS_SERVED = (
    placement(),
    placement(),
    placement(kind=Kind.MARKER),
    placement(kind=Kind.FUNCTION, function="f"),
    placement(kind=Kind.BINARY),
    placement(zone="a"),
)
PLACEMENTS = (*PLACEMENTS_SERVED, placement(queue="nobody"))


def random_wish(sim: Simulation) -> list[commands.Command]:
    """One wish of one client."""
    dice = sim.dice
    wish = dice.pick(WISHES)(sim)
    return [wish] if wish is not None else []


def random_plan(dice: Dice, now: Micros, *, in_run: bool = False) -> TaskPlan:
    limits = tuple(ConcurrencyLimit(key, BOUNDS[key]) for key in dice.some(tuple(BOUNDS), 0.15))
    start_at = Micros(now + dice.number(-MINUTE, 10 * SECOND)) if dice.chance(0.2) and not in_run else None
    if start_at is not None and dice.chance(0.1):
        start_at = Micros(now + HOUR)
    retry = RetryPolicy(
        dice.number(1, 3),
        Span(dice.number(0, 2) * SECOND),
        jitter=dice.pick((0.0, 1.0)),
        retry_on=frozenset(dice.some((Outcome.FAILED, Outcome.TIMED_OUT, Outcome.NON_RETRYABLE), 0.6)),
    )
    return plan(
        f"t{dice.number(0, 999)}",
        at=dice.pick(PLACEMENTS),
        priority=dice.pick((1, 5, 5, 5, 10)),
        limits=limits,
        start_at=start_at,
        timeout=Span(dice.number(1, 60) * SECOND),
        retry=retry,
    )


def _dependencies(sim: Simulation) -> tuple[TaskId, ...]:
    dice = sim.dice
    known = list(sim.tasks)[-12:]
    if not known or dice.chance(0.5):
        return ()
    return tuple(dice.pick(known) for _ in range(dice.number(1, 3)))


def _record(sim: Simulation, task_id: TaskId) -> Task | None:
    """The row as read now, or as somebody read it a while ago; None if the sender saw the task live."""
    dice = sim.dice
    now = max(sim.now, sim.engine.state.now)
    sim.records = [(at, record) for at, record in sim.records if at + MINUTE > now]
    old = [record for _, record in sim.records if record.id == task_id]
    if old and dice.chance(0.3):
        return dice.pick(old).snapshot()
    record = record_of(sim.journal, task_id)
    if record is not None and dice.chance(0.2):
        sim.records.append((sim.engine.state.now, record.snapshot()))
    return None if task_id in sim.engine.state.tasks and dice.chance(0.8) else record


def _once(sim: Simulation, project: Project) -> commands.Once | None:
    dice = sim.dice
    if dice.chance(0.7):
        return None
    key = f"key{dice.number(0, 30)}"
    answer = sim.journal.answers.get((project, key))
    if answer is not None and dice.chance(0.5) | (sim.now - answer.created > MINUTE):
        return None  # whoever asks looks into the database first; some look before the answer is there
    return commands.Once(key, dice.pick((b"a", b"a", b"a", b"b")))


def submit(sim: Simulation) -> commands.Command:
    dice = sim.dice
    project = dice.pick(sim.projects)
    new = [commands.NewTask(random_plan(dice, sim.now), _dependencies(sim), dice.pick(RULES)) for _ in range(dice.number(1, 4))]
    ended = {task_id: row.state for task_id, row in sim.journal.history.items()}
    return commands.SubmitTasks(project, new, _once(sim, project), "", ended)


def _of_task(make: Callable[[Simulation, TaskId], commands.Command]) -> Callable[[Simulation], commands.Command | None]:
    def wish(sim: Simulation) -> commands.Command | None:
        live = list(sim.engine.state.tasks)
        known = list(sim.tasks)[-40:]
        candidates = live if live and sim.dice.chance(0.6) else known
        return make(sim, sim.dice.pick(candidates)) if candidates else None

    return wish


def _cancel(sim: Simulation, task_id: TaskId) -> commands.Command:
    return commands.CancelTask(sim.tasks[task_id].project, task_id, _record(sim, task_id))


def _delete(sim: Simulation, task_id: TaskId) -> commands.Command:
    return commands.DeleteTask(sim.tasks[task_id].project, task_id, _record(sim, task_id))


def _retry(sim: Simulation, task_id: TaskId) -> commands.Command:
    failed = [id_ for id_, row in sim.journal.history.items() if row.state in {"failed", "cancelled"} and row.run_id is None]
    chosen = sim.dice.pick(failed) if failed else task_id
    return commands.RetryTask(sim.tasks[chosen].project, chosen, _once(sim, sim.tasks[chosen].project), _record(sim, chosen))


def put_back(sim: Simulation) -> commands.Command | None:
    """What the reader of notes brings: some of those that are due."""
    journal = sim.journal
    due = {child for (_, child), is_due in journal.notes.items() if is_due}
    if not due:
        return None
    records = [record for child in due if child in journal.history and (record := record_of(journal, child)) is not None]
    wanted = {dependency for record in records for dependency in record.depends_on} - journal.live.keys()
    ended = {id_: journal.history[id_].state if id_ in journal.history else TaskState.FAILED for id_ in wanted}
    return commands.PutBackDependents(records, [child for child in due if child not in journal.history], ended)


def _checkpoint(sim: Simulation, task_id: TaskId) -> commands.Command:
    return commands.SaveCheckpoint(sim.tasks[task_id].project, task_id, "{}", sim.dice.number(0, 2))


def _update(sim: Simulation, task_id: TaskId) -> commands.Command:
    dice = sim.dice
    record = _record(sim, task_id)
    task = sim.engine.state.tasks.get(task_id, record)
    if task is not None and dice.chance(0.2):
        labels = commands.TaskChange(task.plan._replace(tags=("new",), spec=b"new"), labels_only=True)
        return commands.UpdateTask(sim.tasks[task_id].project, task_id, labels, record=record)
    in_run = task is not None and task.run_id is not None
    change = commands.TaskChange(
        random_plan(dice, sim.now, in_run=in_run) if dice.chance(0.6) else None,
        _dependencies(sim) if dice.chance(0.3) else None,
        dice.pick(RULES) if dice.chance(0.3) else None,
    )
    ended = {id_: row.state for id_, row in sim.journal.history.items()}
    return commands.UpdateTask(sim.tasks[task_id].project, task_id, change, ended, record)


def random_job(dice: Dice, now: Micros) -> JobPlan:
    count = dice.number(0, 6)
    nodes = []
    for n in range(count):
        after = tuple(dice.some([f"n{m}" for m in range(n)], 0.4)[-4:])
        nodes.append(Node(f"n{n}", after, dice.pick(RULES), random_plan(dice, now, in_run=True)))
    when = None
    if dice.chance(0.5):
        when = schedule(
            dice.pick(("@every 10s", "@every 1m", "* * * * *", "*/7 * * * * *")),
            max_jitter=dice.pick((Span(0), Span(90 * SECOND))),
            misfire=dice.pick(tuple(MisfirePolicy)),
            concurrency=dice.pick(tuple(ConcurrencyPolicy)),
        )
    return job_plan(*nodes, schedule=when, max_active_runs=dice.pick((0, 0, 1, 2)))


def create_job(sim: Simulation) -> commands.Command | None:
    if len([job for job in sim.engine.state.jobs.values() if job.state != "deleted"]) > 5:
        return None
    project = sim.dice.pick(sim.projects)
    once = _once(sim, project)
    return commands.CreateJob(project, random_job(sim.dice, sim.now), paused=sim.dice.chance(0.1), once=once)


def _of_job(sim: Simulation) -> commands.Command | None:
    dice = sim.dice
    jobs = list(sim.engine.state.jobs.values())
    if not jobs:
        return None
    job = dice.pick(jobs)
    match dice.number(0, 5):
        case 0:
            return commands.UpdateJob(job.project, job.id, random_job(dice, sim.now), job.version - dice.number(0, 1))
        case 1:
            return commands.SetJobState(job.project, job.id, dice.pick(("pause", "resume", "resume", "delete")))
        case _:
            return commands.TriggerJob(job.project, job.id, _once(sim, job.project))


def _cancel_run(sim: Simulation) -> commands.Command | None:
    runs = list(sim.engine.state.runs.values())
    if not runs:
        return None
    run = sim.dice.pick(runs)
    return commands.CancelRun(run.project, run.id)


WISHES: tuple[Callable[[Simulation], commands.Command | None], ...] = (
    *(submit,) * 5,
    *(_of_task(_cancel),),
    *(_of_task(_delete),),
    *(_of_task(_retry),) * 2,
    put_back,
    *(_of_task(_update),) * 3,
    _of_task(_checkpoint),
    create_job,
    *(_of_job,) * 2,
    _cancel_run,
)
