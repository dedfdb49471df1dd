"""What the commands share that ask a scheduler something and print its answer."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any, Final

from foliot.client import Client, Tls
from foliot.kit.errors import ErrorReason, FoliotError
from foliot.kit.tls import client_tls
from foliot_gateway.cli.starting import naming_options

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from google.protobuf.timestamp_pb2 import Timestamp

    from foliot_gateway.cli.settings import KeysSettings

HINT_AFTER_S: Final = 2.0
"""When to say that nobody answers: a call goes on trying for 30 s, as a fail-over may take, and people should know why."""


def ask(settings: KeysSettings, command: str, work: Callable[[Client], Coroutine[None, None, None]]) -> int:
    """Do what a command asks of a scheduler and return its exit status; what goes wrong is printed."""
    addresses = [str(address) for address in settings.scheduler]

    def say_what_takes_long() -> None:
        sys.stderr.write(f"foliot {command}: no answer from {', '.join(addresses)} yet, trying again\n")

    async def run() -> None:
        hint = asyncio.get_running_loop().call_later(HINT_AFTER_S, say_what_takes_long)
        tls = Tls.of(client_tls(settings.tls_ca, settings.tls_cert, settings.tls_key))
        async with Client(addresses, credentials=settings.api_key, tls=tls) as client:
            await work(client)
        hint.cancel()

    try:
        with naming_options():
            asyncio.run(run())
    except FoliotError as error:
        where = f" ({', '.join(addresses)} as --scheduler)" if error.reason is ErrorReason.NO_LEADER else ""
        sys.stderr.write(f"foliot {command}: error: {error.message}{where}\n")
        return 1
    return 0


def instant(stamp: Timestamp) -> str:
    """Write a time."""
    return stamp.ToJsonString()


def print_json(shown: object) -> None:
    """Print JSON."""
    sys.stdout.write(json.dumps(shown, indent=2) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows below the names of their columns."""
    table = [columns, *([text_of(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[at]) for line in table) for at in range(len(columns))]
    for line in table:
        sys.stdout.write("  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() + "\n")


def text_of(value: object) -> str:
    """Write a value for a terminal: a name must not move the cursor or forge a line."""
    return "-" if value is None else "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(value))
