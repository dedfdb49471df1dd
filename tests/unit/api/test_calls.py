"""Who calls: the project of a call."""

from __future__ import annotations

import pytest

from foliot.kit.errors import FoliotError
from foliot_scheduler.api.calls import Call, read_call
from foliot_scheduler.core.types import Project


def test_a_call_without_metadata_works_in_the_default_project() -> None:
    assert read_call(None) == Call(Project("default"))
    assert read_call((("foliot-project", ""),)) == Call(Project("default"))


def test_a_call_names_its_project() -> None:
    assert read_call((("user-agent", "x"), ("foliot-project", "p" * 100))) == Call(Project("p" * 100))


def test_a_forwarded_call_is_known() -> None:
    assert read_call((("foliot-forwarded", "1"),)) == Call(Project("default"), forwarded=True)


def test_a_long_project_is_refused() -> None:
    with pytest.raises(FoliotError, match="foliot-project: must be at most 100 characters"):
        read_call((("foliot-project", "p" * 101),))
