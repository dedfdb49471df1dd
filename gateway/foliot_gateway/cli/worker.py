"""`foliot worker`: one worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foliot_gateway.cli.starting import run_named, say
from foliot_worker import app

if TYPE_CHECKING:
    from foliot_worker.settings import WorkerSettings


def run(settings: WorkerSettings) -> int:
    """Run it until a signal; it is ready once a scheduler has welcomed it."""
    return run_named(app.run(settings, on_ready=lambda: say("foliot worker is ready")))
