"""The database repeats the core's rules, and the queries agree with both."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

import pytest

from foliot_scheduler.core.access import Role
from foliot_scheduler.core.model import JobState, Kind, Outcome, Trigger, TriggerRule
from foliot_scheduler.core.shapes import JobShape
from foliot_scheduler.core.transitions import (
    ENDED_RUN_STATES,
    ENDED_TASK_STATES,
    LIVE_RUN_STATES,
    LIVE_TASK_STATES,
    RunState,
    TaskState,
)
from foliot_scheduler.store import sql
from foliot_scheduler.store.components import ComponentKind
from foliot_scheduler.store.pool import Pool
from foliot_scheduler.store.webhooks import DeliveryState

_STORE = Path(sql.__file__).parent

_CHECKS: dict[tuple[str, str], frozenset[str]] = {
    ("task", "state"): frozenset(LIVE_TASK_STATES),
    ("task_history", "state"): frozenset(ENDED_TASK_STATES),
    ("task_count", "state"): frozenset(TaskState),
    ("component", "kind"): frozenset(ComponentKind),
    ("run", "state"): frozenset(LIVE_RUN_STATES),
    ("run_history", "state"): frozenset(ENDED_RUN_STATES),
    ("job", "state"): frozenset(JobState),
    ("job", "shape"): frozenset(JobShape),
    ("task", "kind"): frozenset(Kind),
    ("task_history", "kind"): frozenset(Kind),
    ("task", "trigger_rule"): frozenset(TriggerRule),
    ("task_history", "trigger_rule"): frozenset(TriggerRule),
    ("task", "outcome"): frozenset(Outcome),
    ("task_history", "outcome"): frozenset(Outcome),
    ("attempt", "outcome"): frozenset(Outcome),
    ("run", "trigger"): frozenset(Trigger),
    ("webhook_delivery_history", "state"): frozenset(DeliveryState) - {DeliveryState.PENDING},
    ("run_history", "trigger"): frozenset(Trigger),
    ("api_key", "role"): frozenset(Role),
    ("audit_record", "role"): frozenset(Role),
    ("run_history", "shape"): frozenset(JobShape),
}


async def test_the_checks_are_the_enums(pool: Pool) -> None:
    found = await pool.fetch(
        """
        SELECT cls.relname, att.attname, pg_get_constraintdef(con.oid) AS definition
        FROM pg_constraint AS con
        JOIN pg_class AS cls ON cls.oid = con.conrelid
        JOIN pg_attribute AS att ON att.attrelid = con.conrelid AND att.attnum = con.conkey[1]
        WHERE con.contype = 'c' AND NOT cls.relispartition AND pg_get_constraintdef(con.oid) LIKE '%ANY (ARRAY[%'
        """
    )
    checks = {(row["relname"], row["attname"]): frozenset(re.findall(r"'(\w+)'::text", row["definition"])) for row in found}
    assert checks.pop(("task_log", "level")) == {"debug", "info", "warn", "error"}
    assert checks == _CHECKS


@pytest.mark.parametrize("path", sorted(_STORE.glob("*.sql")) + sorted(_STORE.glob("queries/*.sql")), ids=lambda path: path.name)
def test_states_in_queries_are_states(path: Path) -> None:
    """A state that is named in a query exists, and a list of states is all that are live, or all that have ended."""
    text = path.read_text(encoding="utf-8")
    known: set[str] = {*TaskState, *RunState, *JobState}
    groups: list[frozenset[StrEnum]] = [LIVE_TASK_STATES, ENDED_TASK_STATES, LIVE_RUN_STATES, ENDED_RUN_STATES]
    for state in re.findall(r"\bstate (?:=|<>) '(\w+)'", text):
        assert state in known
    lists = re.findall(r"\bstate IN \(([^)]*)\)|\bstate = ANY \('\{([\w,]*)\}'", text)
    for literal, packed in lists:
        named = set(re.findall(r"\w+", literal or packed))
        assert any(named == set(group) for group in groups), named


async def test_live_tables_carry_the_shard(pool: Pool) -> None:
    found = await pool.fetch("SELECT table_name FROM information_schema.columns WHERE column_name = 'shard'")
    assert {row["table_name"] for row in found} == {"leadership", "task", "run", "job", "lease_batch", "worker", "webhook"}
