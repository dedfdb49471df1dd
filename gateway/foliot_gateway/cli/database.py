"""`foliot database`: the embedded PostgreSQL alone, in the foreground."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foliot_gateway.cli.starting import run_parts, say
from foliot_scheduler.store.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foliot.kit.lifecycle import Part
    from foliot_gateway.cli.settings import DatabaseSettings


def run(settings: DatabaseSettings) -> int:
    """Run it until a signal."""
    made: list[EmbeddedPostgres] = []

    def make() -> Sequence[Part]:
        made.append(EmbeddedPostgres(settings.data_dir, settings.port, restarts=True))
        return made

    return run_parts(make, on_ready=lambda: say(f"foliot database is ready: {made[0].url}"))
