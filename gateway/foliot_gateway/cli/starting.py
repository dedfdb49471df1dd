"""What the commands that run daemons share: running parts, and naming the option behind a failed start."""

from __future__ import annotations

import asyncio
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvloop

from foliot.kit.errors import FoliotError
from foliot.kit.settings import SettingsError
from foliot.kit.supervisor import run_until_signalled
from foliot_scheduler.store.errors import DatabaseUrlError, EmbeddedPostgresError, SchemaError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from foliot.kit.lifecycle import Part


def say(line: str) -> None:
    """Print the one line that says that a command is ready."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def run_parts(make: Callable[[], Sequence[Part]], *, on_ready: Callable[[], None], serves_calls: bool = False) -> int:
    """Make the parts inside of an event loop, run them until a signal, and return the exit status.

    `serves_calls` says that they serve many small calls and start few processes: uvloop does the former with less CPU time, and
    the latter four to five times slower.
    """

    async def run() -> int:
        return await run_until_signalled(make(), on_ready=on_ready, keep_watchdog=True)

    return run_named(run(), uvloop.new_event_loop if serves_calls else None)


def run_named(daemon: Coroutine[None, None, int], new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None) -> int:
    """Run a daemon to its end and return its exit status; a start that fails because of a setting names the option."""
    with naming_options(), asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(daemon)


@contextmanager
def naming_options() -> Iterator[None]:
    """Turn what a start raises because of a setting into a SettingsError that names the option."""
    try:
        yield
    except (DatabaseUrlError, SchemaError, StoreUnavailable) as error:
        raise SettingsError("--database-url", str(error)) from error
    except EmbeddedPostgresError as error:
        raise SettingsError("--data-dir", str(error)) from error
    except FoliotError as error:
        violation = error.fields[0] if error.fields else None
        if violation is None:
            raise
        raise SettingsError("--" + violation.field.replace("_", "-"), violation.description) from error
