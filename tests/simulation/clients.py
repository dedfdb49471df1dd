"""Clients of a simulation: they ask, lose answers, ask again with the same key, and note what they were promised."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.kit.ids import format_uuid, parse_uuid
from foliot.v1 import spec_pb2, task_pb2
from foliot_scheduler.core.types import TaskId
from foliot_scheduler.store.errors import StoreError
from tests.simulation.ledger import KeyUse
from tests.unit.core.dice import Dice

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.bodies import Evidence
    from tests.simulation.cluster import Replica
    from tests.simulation.ledger import Ledger
    from tests.simulation.plan import Plan
    from tests.simulation.virtual import VirtualClock

ANSWER_WITHIN_S: Final = 10.0
"""How long a client waits for an answer."""

TRIES_MAX: Final = 30

_UNKNOWN: Final = frozenset({ErrorReason.NO_LEADER, ErrorReason.DATABASE_UNAVAILABLE, ErrorReason.INTERNAL})
"""Errors that do not say whether the call took effect."""


@dataclass(frozen=True, slots=True)
class World:
    """What all callers of a story share."""

    clock: VirtualClock
    replicas: Callable[[], list[Replica]]
    ledger: Ledger
    note: Callable[[Evidence], None]
    """Takes what was done."""


class Caller:
    """Calls replicas and copes with what becomes of calls."""

    def __init__(self, dice: Dice, world: World) -> None:
        self._dice = dice
        self._clock = world.clock
        self._replicas = world.replicas
        self._ledger = world.ledger

    async def ask(self, method: str, request: Any, *, tries: int = TRIES_MAX) -> Any:
        """Answer what a replica answers, or a FoliotError for a refusal; None if nobody knows whether it took effect.

        Asks again while nobody answers, so the request must be one that may be repeated, or `tries` be 1.
        """
        unknown = False
        for _ in range(tries):
            try:
                response = await self._call(self._dice.pick(self._replicas()), method, request)
            except FoliotError as error:
                if error.reason not in _UNKNOWN and error.reason is not ErrorReason.OVERLOADED:
                    self._ledger.calls[f"{method} {error.reason.name}"] += 1
                    # After a try that may have taken effect, a refusal may be its echo.
                    return None if unknown and error.reason is ErrorReason.WRONG_STATE else error
                unknown |= error.reason in _UNKNOWN
            except (StoreError, TimeoutError):
                unknown = True
            else:
                self._ledger.calls[f"{method} answered"] += 1
                return response
            await self._clock.sleep(0.05 + self._dice.fraction())
        self._ledger.calls[f"{method} unanswered"] += 1
        return None

    async def _call(self, replica: Replica, method: str, request: Any) -> Any:
        """Make one call on a replica's own time; request and answer may be late, or get lost."""
        clock, dice = self._clock, self._dice
        if not replica.process.alive or replica.leadership is None:
            await clock.sleep(dice.fraction() * 0.003)
            raise TimeoutError
        served = replica.process.spawn(self._served(replica, method, request, dice), "call")
        replica.process.forget(served)
        async with asyncio.timeout(ANSWER_WITHIN_S * (1.0 if dice.chance(0.98) else 0.001)):
            await asyncio.wait({served})
        return served.result()

    async def _served(self, replica: Replica, method: str, request: Any, dice: Dice) -> Any:
        """Serve a call; a request that is late arrives even if its caller has given up and asked again."""
        await self._clock.sleep(dice.fraction() * (0.003 if dice.chance(0.99) else 15.0))
        return await replica.answer(method, request)


class Client(Caller):
    """One client, one call at a time: tasks on their own. Others take up what more there is to ask for."""

    def __init__(self, name: str, plan: Plan, world: World, themes: frozenset[str]) -> None:
        """Take what the story is made of, and what it is about besides submitted and cancelled tasks: `themes`."""
        super().__init__(Dice(plan.seed), world)
        self._plan = plan
        self._name = name
        self._keys = 0
        self._themes = themes

    def wishes(self) -> list[Callable[[], Any]]:
        """What it may ask for, as often as it is named."""
        wishes: list[Callable[[], Any]] = [self._submit, self._submit, self._submit, self._chain, self._cancel, self._look]
        if "retry" in self._themes:
            wishes += [self._retry, self._retry, self._chain]
        if "keys" in self._themes:
            wishes += [self._use_key_again, self._use_key_again]
        if "change" in self._themes:
            wishes += [self._update, self._delete]
        if "bulk" in self._themes:
            wishes += [self._bulk]
        return wishes

    async def run(self) -> None:
        """Ask for things, one after another."""
        wishes = self.wishes()
        for at, dice in self._plan.turns(self._name):
            await self._clock.sleep(at - self._clock.monotonic())
            self._dice = dice
            await dice.pick(wishes)()

    # ---- tasks on their own

    async def _submit(self) -> None:
        if self._dice.chance(0.5):
            await self._submit_one(self._order())
        else:
            await self._submit_many([self._order() for _ in range(self._dice.pick((1, 2, 10)))])

    async def _bulk(self) -> None:
        await self._submit_many([self._order() for _ in range(self._dice.pick((20, 40)))])

    async def _chain(self) -> None:
        """A task that waits for others that were promised."""
        known = [task_id for task_id in sorted(self._ledger.tasks)[-60:] if task_id not in self._ledger.deletes_asked]
        if not known:
            return
        parents = dict.fromkeys(self._dice.pick(known) for _ in range(self._dice.number(1, 3)))
        order = self._order()
        order.dependencies.extend(format_uuid(parent) for parent in parents)
        order.trigger_rule = self._dice.pick((1, 1, 1, 2, 3, 4, 5, 6))  # type: ignore[assignment]
        await self._submit_one(order)

    async def _submit_one(self, order: task_pb2.NewTask) -> None:
        request = task_pb2.SubmitTaskRequest(task=order, idempotency_key=self._key())
        response = await self.ask("SubmitTask", request)
        self._note_created("SubmitTask", request, [order], response, lambda: [response.task.id])

    async def _submit_many(self, orders: list[task_pb2.NewTask]) -> None:
        request = task_pb2.SubmitTasksRequest(tasks=orders, idempotency_key=self._key())
        response = await self.ask("SubmitTasks", request)
        self._note_created("SubmitTasks", request, orders, response, lambda: list(response.task_ids))

    def _note_created(
        self, method: str, request: Any, orders: list[task_pb2.NewTask], response: Any, created: Callable[[], list[str]]
    ) -> None:
        names = [order.spec.name for order in orders]
        if isinstance(response, FoliotError):
            self._ledger.refused.update(names)
        elif response is not None:
            ids = [TaskId(parse_uuid(text)) for text in created()]
            assert len(ids) == len(orders), f"{len(orders)} tasks were asked for, {len(ids)} answered"
            self._ledger.tasks.update(zip(ids, names, strict=True))
            self._ledger.keys[request.idempotency_key] = KeyUse(method, request, tuple(ids))

    async def _cancel(self) -> None:
        known = sorted(self._ledger.tasks.keys() - self._ledger.cancels_told.keys())[-60:]
        if not known:
            return
        chosen = self._dice.pick(known)
        response = await self.ask("CancelTask", task_pb2.CancelTaskRequest(task_id=format_uuid(chosen)))
        if isinstance(response, task_pb2.CancelTaskResponse):
            self._ledger.cancels_told[chosen] = self._clock.monotonic()

    async def _look(self) -> None:
        """Read a task that was promised: it must be there, and what has ended must stay as it ended."""
        known = sorted(self._ledger.tasks.keys() - self._ledger.deletes_asked)
        if not known:
            return
        chosen = self._dice.pick(known)
        response = await self.ask("GetTask", task_pb2.GetTaskRequest(task_id=format_uuid(chosen)))
        if isinstance(response, FoliotError):
            assert chosen in self._ledger.deletes_asked, f"a promised task is not found: {response}"
            return
        if response is not None and response.task.state > spec_pb2.TASK_STATE_RUNNING:
            self._ledger.ended[chosen] = spec_pb2.TaskState.Name(response.task.state).removeprefix("TASK_STATE_").lower()

    async def _retry(self) -> None:
        """Give a task another attempt that ended badly, as far as is known."""
        states = self._ledger.ended
        bad = [task_id for task_id, state in states.items() if state in {"failed", "cancelled"}]
        known = bad or sorted(self._ledger.tasks)[-60:]
        if not known:
            return
        chosen = self._dice.pick(known)
        states.pop(chosen, None)
        self._ledger.retries_asked[chosen] += 1
        request = task_pb2.RetryTaskRequest(task_id=format_uuid(chosen), idempotency_key=self._key())
        response = await self.ask("RetryTask", request)
        self._ledger.ended.pop(chosen, None)
        if isinstance(response, task_pb2.RetryTaskResponse):
            self._ledger.keys[request.idempotency_key] = KeyUse("RetryTask", request, (chosen,))

    async def _update(self) -> None:
        known = sorted(self._ledger.tasks)[-60:]
        if not known:
            return
        chosen = self._dice.pick(known)
        self._ledger.updates_asked.add(chosen)
        request = task_pb2.UpdateTaskRequest(task_id=format_uuid(chosen))
        request.task.spec.priority = self._dice.number(1, 10)
        request.update_fields.append("priority")
        await self.ask("UpdateTask", request)

    async def _delete(self) -> None:
        known = sorted(self._ledger.tasks.keys() - self._ledger.deletes_asked)[-60:]
        if not known:
            return
        chosen = self._dice.pick(known)
        self._ledger.deletes_asked.add(chosen)
        response = await self.ask("DeleteTask", task_pb2.DeleteTaskRequest(task_id=format_uuid(chosen)))
        if isinstance(response, task_pb2.DeleteTaskResponse):
            self._ledger.deletes_told.add(chosen)

    async def _use_key_again(self) -> None:
        """Send a request again that was answered long ago, or another one with its key."""
        uses = self._ledger.keys
        if not uses:
            return
        key = self._dice.pick(list(uses))
        use = uses[key]
        if self._dice.chance(0.5):
            response = await self.ask(use.method, use.request)
            if response is None:
                return
            gone = self._ledger.deletes_asked.intersection(use.ids)
            if isinstance(response, FoliotError):
                assert gone, f"{use.method} with a known key was refused: {response}"
            else:
                assert ids_in(response) == use.ids, f"{use.method} with a known key has another answer"
        else:
            other = task_pb2.SubmitTaskRequest(task=self._order(), idempotency_key=key)
            response = await self.ask("SubmitTask", other)
            self._ledger.refused.add(other.task.spec.name)
            is_refused = isinstance(response, FoliotError) and response.reason is ErrorReason.IDEMPOTENCY_MISMATCH
            assert response is None or is_refused, f"a known key with another request was answered {response}"

    # ---- what is asked for

    def _key(self) -> str:
        self._keys += 1
        return f"{self._name}-{self._keys}"

    def _order(self) -> task_pb2.NewTask:
        order = task_pb2.NewTask(spec=self._spec())
        self._ledger.orders[order.spec.name] = order
        return order

    def _spec(self) -> spec_pb2.TaskSpec:
        dice, themes = self._dice, self._themes
        spec = spec_pb2.TaskSpec(name=self._key(), priority=dice.pick((1, 5, 10)))
        if "executors" in themes and dice.chance(0.2):
            spec.binary.url = "https://example.org/program"
            spec.binary.sha256 = "0" * 64
        else:
            spec.function.function = "f"
            manners = [manner for manner in ("failing", "slow", "saving", "stubborn") if manner in themes]
            if manners and dice.chance(0.2):
                spec.function.input_json = json.dumps(dice.pick(manners))
        spec.timeout.FromSeconds(5 if "slow" in themes else dice.pick((5, 60)))
        spec.retry.max_attempts = dice.number(1, 3)
        spec.retry.initial_backoff.FromMilliseconds(dice.pick((0, 500, 3_000)))
        spec.retry.jitter = dice.pick((0.0, 1.0))
        if dice.chance(0.2):
            spec.retry.retry_on.extend((spec_pb2.OUTCOME_FAILED, spec_pb2.OUTCOME_NON_RETRYABLE))
        if dice.chance(0.3 if "limits" in themes else 0.03):
            bound = dice.pick((1, 2))
            spec.limits.add(key=f"at most {bound}", max_running=bound)
        if "later" in themes and dice.chance(0.2):
            spec.start_at.FromMicroseconds(self._clock.now_us() + dice.number(-1_000_000, 40_000_000))
        return spec


def ids_in(response: Any) -> tuple[bytes, ...]:
    """The ids of what a response says was created."""
    for name in ("task", "job", "run"):
        if name in response.DESCRIPTOR.fields_by_name:
            return (parse_uuid(getattr(response, name).id),)
    return tuple(parse_uuid(text) for text in response.task_ids)
