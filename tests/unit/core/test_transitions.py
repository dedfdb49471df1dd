"""The tables of legal moves: what is not in them raises, and what is in them can be reached."""

from __future__ import annotations

from itertools import product

import pytest

from foliot_scheduler.core.transitions import (
    ENDED_RUN_STATES,
    ENDED_TASK_STATES,
    LIVE_RUN_STATES,
    LIVE_TASK_STATES,
    RUN_TRANSITIONS,
    TASK_TRANSITIONS,
    IllegalTransitionError,
    RunEvent,
    RunState,
    TaskEvent,
    TaskState,
    next_run_state,
    next_task_state,
)


@pytest.mark.parametrize(("state", "event"), list(product(TaskState, TaskEvent)), ids=str)
def test_a_task_moves_by_the_table_or_not_at_all(state: TaskState, event: TaskEvent) -> None:
    if (state, event) in TASK_TRANSITIONS:
        assert next_task_state(state, event) is TASK_TRANSITIONS[state, event]
        return
    with pytest.raises(IllegalTransitionError, match=f"{state} -{event}->") as error:
        next_task_state(state, event)
    assert (error.value.state, error.value.event) == (state, event)


@pytest.mark.parametrize(("state", "event"), list(product(RunState, RunEvent)), ids=str)
def test_a_run_moves_by_the_table_or_not_at_all(state: RunState, event: RunEvent) -> None:
    if (state, event) in RUN_TRANSITIONS:
        assert next_run_state(state, event) is RUN_TRANSITIONS[state, event]
        return
    with pytest.raises(IllegalTransitionError) as error:
        next_run_state(state, event)
    assert (error.value.state, error.value.event) == (state, event)


def reached(table: dict[tuple[TaskState, TaskEvent], TaskState], start: TaskState) -> set[TaskState]:
    found = {start}
    while more := {end for (state, _), end in table.items() if state in found} - found:
        found |= more
    return found


def test_every_state_of_a_task_is_reached_from_its_first() -> None:
    assert reached(TASK_TRANSITIONS, TaskState.BLOCKED) == set(TaskState)


def test_every_live_task_can_end() -> None:
    for state in LIVE_TASK_STATES:
        assert reached(TASK_TRANSITIONS, state) & ENDED_TASK_STATES


def test_every_event_moves_something() -> None:
    assert {event for _, event in TASK_TRANSITIONS} == set(TaskEvent)
    assert {event for _, event in RUN_TRANSITIONS} == set(RunEvent)


def test_what_has_ended_moves_only_when_somebody_retries_it() -> None:
    assert {event for state, event in TASK_TRANSITIONS if state in ENDED_TASK_STATES} == {TaskEvent.REVIVED}
    assert not {state for state, _ in RUN_TRANSITIONS} & ENDED_RUN_STATES
    assert not {state for state, _ in TASK_TRANSITIONS} & {TaskState.SUCCEEDED, TaskState.SKIPPED}


def test_a_state_is_live_or_ended() -> None:
    assert set(TaskState) == LIVE_TASK_STATES | ENDED_TASK_STATES
    assert not LIVE_TASK_STATES & ENDED_TASK_STATES
    assert set(RunState) == LIVE_RUN_STATES | ENDED_RUN_STATES
    assert not LIVE_RUN_STATES & ENDED_RUN_STATES


def test_a_task_runs_only_from_ready_so_that_nothing_skips_the_queue() -> None:
    assert {state for (state, _), end in TASK_TRANSITIONS.items() if end is TaskState.RUNNING} == {TaskState.READY}
