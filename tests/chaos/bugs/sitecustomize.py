"""Puts a bug into every `foliot` process that is started with this folder on PYTHONPATH and CHAOS_BUG in its environment.

Python imports a module of this name by itself when it starts. The product knows nothing of it: what is here replaces functions of
the product in the child's memory, so that the checker can be seen to find what comes of it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def skip_the_fence() -> None:
    """Take results by their task, whatever their token, from workers that go on when they have lost their leases."""
    from foliot_scheduler.core import leases, workers
    from foliot_worker.session import Session

    tasks: dict[int, Any] = {}
    grant, attempts_ended, joined = leases.grant, leases.attempts_ended, workers.joined

    def granting(state: Any, worker: Any, waiting: Any) -> Any:
        granted = grant(state, worker, waiting)
        tasks.update((lease.token, lease.task.id) for lease in granted)
        return granted

    def ending(state: Any, command: Any) -> None:
        for end in command.ends:
            task = state.tasks.get(tasks.get(end.token))
            if end.token not in state.leases and task is not None and task.lease is not None:
                leases.record_end(state, task.lease, end)
        attempts_ended(state, command)

    def joining(state: Any, command: Any) -> Any:
        joined(state, command)
        return ()  # nobody is told that what it holds is another's by now

    leases.grant, leases.attempts_ended, workers.joined = granting, ending, joining
    Session._lose = Session._drop = lambda *_: None  # type: ignore[assignment, method-assign]


def acknowledge_before_commit() -> None:
    """Let answers and leases leave before PostgreSQL has what they say."""
    from foliot_scheduler.actors.journal import Journal

    make: Callable[..., None] = Journal.__init__

    def making(self: Any, *, take: Callable[[], Any], release: Callable[[Any], None], **more: Any) -> None:
        def taking() -> Any:
            effects = take()
            release(effects)
            return effects

        make(self, take=taking, release=lambda _: None, **more)

    Journal.__init__ = making  # type: ignore[method-assign]


def drop_results() -> None:
    """Have the worker forget, with its stream, the results that nobody has confirmed."""
    from foliot_worker.session import Session

    broken = Session.broken

    def breaking(self: Session) -> None:
        broken(self)
        self._results.clear()

    Session.broken = breaking  # type: ignore[method-assign]


_BUGS = {bug.__name__: bug for bug in (skip_the_fence, acknowledge_before_commit, drop_results)}

if "CHAOS_BUG" in os.environ:
    _BUGS[os.environ["CHAOS_BUG"]]()
