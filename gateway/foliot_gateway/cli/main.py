"""The command line: finds the command, reads its settings, turns what goes wrong into a message and an exit status."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foliot.kit.logs import configure_logging
from foliot.kit.settings import SettingsError, add_flags, load, options
from foliot.kit.telemetry import configure_tracing, shutdown_tracing
from foliot_gateway.cli.settings import (
    AuditSettings,
    CreateKeySettings,
    DatabaseSettings,
    DemoSettings,
    KeysSettings,
    RevokeKeySettings,
    UpSettings,
)
from foliot_gateway.settings import GatewaySettings
from foliot_scheduler.settings import SchedulerSettings
from foliot_worker.settings import WorkerSettings, without_secrets

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_USAGE = 2
"""Bad usage or configuration, as argparse and most Unix commands have it."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its settings, and the function that takes them and returns the exit status."""

    name: str
    """Its words on the command line."""
    help: str
    settings: type[object]
    function: str = "run"
    """What runs it, in the module that has its first word for a name."""
    positional: str = ""
    """The option that may also be given without its flag."""


COMMANDS = (
    Command("up", "everything in one go on embedded defaults", UpSettings),
    Command("database", "the embedded PostgreSQL alone, in the foreground; prints its URL", DatabaseSettings),
    Command("scheduler", "one scheduler replica", SchedulerSettings),
    Command("worker", "one worker", WorkerSettings),
    Command("gateway", "one HTTP gateway", GatewaySettings),
    Command("keys create", "make an API key and show its secret, once", CreateKeySettings, "create"),
    Command("keys list", "list API keys", KeysSettings, "list_"),
    Command("keys revoke", "end an API key", RevokeKeySettings, "revoke", positional="api_key_id"),
    Command("audit", "show who changed what, the latest first", AuditSettings),
    Command("demo", "run a real sample pipeline to its end and show it", DemoSettings),
)

GROUPS = {"keys": "make, list and revoke API keys"}

OPTION_NAMES = frozenset(one.name for command in COMMANDS for one in options(command.settings)) | {"log_format"}
"""The options of all commands: variables and keys of one may stand beside those of another."""


class StartError(Exception):
    """Something that the user set cannot work; the message names it."""


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of `foliot` with a sub-parser for each command."""
    parser = argparse.ArgumentParser(
        prog="foliot", description="A distributed task scheduler that loses nothing.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"foliot {version('foliot')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    groups: dict[str, Any] = {}
    for command in COMMANDS:
        group, _, name = command.name.rpartition(" ")
        if group and group not in groups:
            members = commands.add_parser(group, help=GROUPS[group], description=GROUPS[group], allow_abbrev=False)
            groups[group] = members.add_subparsers(dest="member", required=True, metavar="COMMAND")
        into = groups[group] if group else commands
        sub = into.add_parser(name, help=command.help, description=command.help, allow_abbrev=False)
        if command.positional:
            sub.add_argument(command.positional, metavar="ID", nargs="?", default=argparse.SUPPRESS, help="the same as the flag")
        sub.add_argument("--config", type=Path, metavar="FILE", help="a TOML file whose keys are the options' names")
        add_flags(sub, command.settings)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0 well, 1 failed, 2 bad usage or configuration."""
    parsed = vars(build_parser().parse_args(arguments))
    words = " ".join(filter(None, (parsed["command"], parsed.get("member"))))
    command = next(one for one in COMMANDS if one.name == words)
    try:
        settings = load(
            command.settings,
            flags=parsed,
            environ=without_secrets(os.environ),
            toml_path=parsed["config"],
            also_known=OPTION_NAMES,
        )
        json = os.environ.get("FOLIOT_LOG_FORMAT", "text" if sys.stderr.isatty() else "json") == "json"
        component = parsed["command"]
        configure_logging(component, json=json)
        configure_tracing(component)
        module = importlib.import_module(f"foliot_gateway.cli.{component}")
        status: int = getattr(module, command.function)(settings)
        shutdown_tracing()
    except (SettingsError, StartError) as error:
        sys.stderr.write(f"foliot {command.name}: error: {error}\n")
        return EXIT_USAGE
    return status


if __name__ == "__main__":
    sys.exit(main())
