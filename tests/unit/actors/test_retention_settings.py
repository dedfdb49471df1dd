"""How long things are kept can be set, within bounds that make sense."""

from __future__ import annotations

from datetime import timedelta

import pytest

from foliot.kit.settings import FieldError, HostPort
from foliot_scheduler.settings import SchedulerSettings
from foliot_scheduler.store.partitions import RetentionSettings


def settings(**days: int) -> SchedulerSettings:
    spans = {f"{name}_retention": timedelta(days=count) for name, count in days.items()}
    return SchedulerSettings(database_url="postgresql:///x", grpc=HostPort("127.0.0.1", 0), **spans)  # type: ignore[arg-type] # by name


def test_what_is_set_makes_sense_to_maintenance() -> None:
    for given in (settings(), settings(history=1, rollup=1), settings(history=500, rollup=500)):
        RetentionSettings(history=given.history_retention, rollups=given.rollup_retention)
    assert RetentionSettings() == RetentionSettings(settings().history_retention, settings().rollup_retention)


def test_rollups_outlive_the_history() -> None:
    with pytest.raises(FieldError, match="at least as long as --history-retention") as caught:
        settings(history=500)
    assert caught.value.field == "rollup_retention"
    with pytest.raises(ValueError, match="as long as the history"):
        RetentionSettings(history=timedelta(days=500))
