"""`foliot scheduler`: one scheduler replica."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foliot_gateway.cli.starting import run_parts, say
from foliot_scheduler.app import SchedulerApp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foliot.kit.lifecycle import Part
    from foliot_scheduler.settings import SchedulerSettings


def run(settings: SchedulerSettings) -> int:
    """Run it until a signal."""
    made: list[SchedulerApp] = []

    def make() -> Sequence[Part]:
        made.append(SchedulerApp(settings, database_url=lambda: settings.database_url))
        return made

    return run_parts(make, on_ready=lambda: say(f"foliot scheduler is ready: gRPC on {made[0].address}"), serves_calls=True)
