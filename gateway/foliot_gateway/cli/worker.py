"""`foliot worker`: one worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foliot_gateway.cli.starting import run_parts, say
from foliot_worker.app import WorkerApp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foliot.kit.lifecycle import Part
    from foliot_worker.settings import WorkerSettings


def run(settings: WorkerSettings) -> int:
    """Run it until a signal."""

    def make() -> Sequence[Part]:
        return [WorkerApp(settings)]

    return run_parts(make, on_ready=lambda: say("foliot worker is ready"))
