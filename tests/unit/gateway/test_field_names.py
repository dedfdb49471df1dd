from __future__ import annotations

import pytest

from foliot_gateway.http.field_names import FieldNames

NAMES = FieldNames({"spec": "", "spec.schedule.cron": "schedule", "spec.tasks[0].spec.command": "", "page_size": "limit"})


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("page_size", "limit"),
        ("spec.schedule.cron", "schedule"),
        ("spec.name", "name"),
        ("spec.tasks[0].spec.command.environment['a.b']", "environment['a.b']"),
        ("spectrum", "spectrum"),
        ("spec", ""),
    ],
)
def test_the_longest_known_beginning_is_renamed(path: str, expected: str) -> None:
    assert NAMES.rename(path) == expected
