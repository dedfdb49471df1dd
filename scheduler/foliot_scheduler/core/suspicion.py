"""Which tasks may have killed their worker, and how they are kept from taking others along.

Theory of operation. A task that kills its worker leaves no word of it: all that is known is what the worker held at the end. So a
loss is counted against those that can have been running: those that were reported as started, and as many as the worker runs at
once, in the order in which it was given them, which is the order in which it starts them. What waited behind them in the worker's
hands is given to another and charged with nothing.

Those that ran beside the culprit are charged like the culprit itself. A task that was charged SUSPECT_LOSSES times is therefore
*suspect*: a worker holds one suspect at a time. So the culprit, which kills again and again, soon does so with no other suspect
beside it, and an innocent one, apart from it, ends. A task of which nobody can say that it ran becomes suspect as well when it
was lost more often than deployments explain; a suspect is charged whenever its worker dies, so every culprit comes to its end.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from foliot_scheduler.core.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Collection

    from foliot_scheduler.core.model import Lease, Task, Worker
    from foliot_scheduler.core.state import CoreSettings
    from foliot_scheduler.core.types import Token

SUSPECT_LOSSES: Final = 3
"""Losses that make a task suspect. One or two happen to tasks of a fleet whose workers come and go, which would pay the price of
suspicion for nothing: that no two suspects run on one worker at once."""


def uncounted_losses(task: Task) -> int:
    """How often a task was lost by no fault of its own: given back, say. The attempt that runs is none of them."""
    return task.attempt - task.failed_attempts - task.lost_attempts - (task.lease is not None)


def is_suspect(task: Task, settings: CoreSettings) -> bool:
    """Whether a task is to be kept apart from others of its kind."""
    if task.lost_attempts >= SUSPECT_LOSSES:
        return True
    # Of a task that somebody retried, the attempts before count as uncounted too: only a loss since then makes them suspicious.
    return task.outcome is Outcome.LOST and uncounted_losses(task) > settings.uncounted_losses_free


def take_over(task: Task, settings: CoreSettings) -> None:
    """Note of a task that a term before has left whether it is suspect."""
    task.suspect = is_suspect(task, settings)
    if task.suspect and task.lease is not None:
        task.lease.worker.suspect = task.lease


def may_have_run(worker: Worker, lost: Collection[Lease]) -> set[Token]:
    """Return the tokens of lost leases whose attempts can have been running when the worker was heard last."""
    profile = worker.profile
    first = set(islice(worker.leases, profile.concurrency or profile.capacity))
    return {lease.token for lease in lost if lease.task.started is not None or lease.task.suspect or lease.token in first}
