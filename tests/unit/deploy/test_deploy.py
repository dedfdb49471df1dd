"""The files of deploy/ say only what Foliot understands: its commands, flags and variables.

No container engine and no systemd runs here, so the files are parsed, and each start of a component found in them is checked
twice: against the table below, which repeats the fixed names that scripts rely on, and against the real argument parser.
"""

from __future__ import annotations

import argparse
import configparser
import dataclasses
import json
import pathlib
import re
import shlex
from typing import Any

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))

# Seconds a component may take to drain after SIGTERM; a supervisor has to wait longer.
DRAIN_S = 30


@dataclasses.dataclass(frozen=True, slots=True)
class Command:
    """The fixed names of one command: what it must be told, and what it may be told besides."""

    needed: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    @property
    def flags(self) -> set[str]:
        return {*self.needed, *self.optional, "--config"}


COMMANDS = {
    "up": Command(
        optional=(
            "--data-dir",
            "--http",
            "--chadburn-http",
            "--grpc",
            "--workers",
            "--concurrency",
            "--database-url",
            "--redis-url",
            "--insecure",
        ),
    ),
    "database": Command(needed=("--data-dir",), optional=("--port",)),
    "scheduler": Command(
        needed=("--database-url", "--grpc"),
        optional=(
            "--advertise",
            "--bootstrap-key",
            "--worker-key",
            "--redis-url",
            "--tls-cert",
            "--tls-key",
            "--tls-client-ca",
            "--tls-ca",
            "--insecure",
        ),
    ),
    "worker": Command(
        needed=("--scheduler",),
        optional=("--api-key", "--concurrency", "--queues", "--label", "--app", "--tls-ca", "--tls-cert", "--tls-key"),
    ),
    "gateway": Command(
        needed=("--scheduler", "--http"),
        optional=(
            "--api-key",
            "--chadburn-http",
            "--redis-url",
            "--trusted-proxies",
            "--tls-cert",
            "--tls-key",
            "--tls-client-ca",
            "--scheduler-tls-ca",
            "--scheduler-tls-cert",
            "--scheduler-tls-key",
            "--insecure",
        ),
    ),
    "demo": Command(),
}


def variable(flag: str) -> str:
    """The environment variable of a flag: `--database-url` -> `FOLIOT_DATABASE_URL`."""
    return "FOLIOT_" + flag.removeprefix("--").replace("-", "_").upper()


@dataclasses.dataclass(frozen=True, slots=True)
class Start:
    """One start of a component, as a file describes it."""

    where: str
    argv: tuple[str, ...]
    variables: frozenset[str] = frozenset()

    @property
    def command(self) -> str:
        return self.argv[0]

    @property
    def flags(self) -> set[str]:
        return {word.partition("=")[0] for word in self.argv[1:] if word.startswith("--")}


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return document


def compose_services() -> dict[str, dict[str, Any]]:
    """The services of the compose file that run Foliot."""
    return {name: service for name, service in compose()["services"].items() if service["image"] == "foliot"}


def unit(path: pathlib.Path) -> configparser.ConfigParser:
    """A systemd unit. The parser is strict, so a setting given twice is an error."""
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way to keep the case of keys
    parser.read_string(path.read_text())
    return parser


def starts_in_compose() -> list[Start]:
    return [
        Start(f"compose.yaml: {name}", tuple(service["command"]), frozenset(service.get("environment", {})))
        for name, service in compose_services().items()
    ]


def starts_in_units() -> list[Start]:
    starts = []
    for path in UNITS:
        service = unit(path)["Service"]
        program, *argv = shlex.split(service["ExecStart"])
        assert program == "/opt/foliot/bin/foliot"
        # The comment above EnvironmentFile names what the file may hold.
        starts.append(Start(path.name, tuple(argv), frozenset(re.findall(r"\bFOLIOT_[A-Z_]+\b", path.read_text()))))
    return starts


def starts_in_text(path: pathlib.Path) -> list[Start]:
    """The `foliot …` lines of the code blocks of a Markdown file."""
    blocks = re.findall(r"^```(?:sh|console)?\n(.*?)^```", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    foliot = re.compile(r"^(?:\$ )?(?:\S*/)?foliot (.*)")
    return [
        Start(path.relative_to(ROOT).as_posix(), tuple(shlex.split(match[1], comments=True)))
        for line in lines
        if (match := foliot.match(line))
    ]


DEPLOYED = starts_in_compose() + starts_in_units()
DOCUMENTED = starts_in_text(ROOT / "README.md") + starts_in_text(DEPLOY / "README.md")


def start_id(start: Start) -> str:
    return f"{start.where}: {start.command}"


@pytest.mark.parametrize("start", DEPLOYED + DOCUMENTED, ids=start_id)
def test_only_fixed_names_are_used(start: Start) -> None:
    command = COMMANDS[start.command]
    assert start.flags <= command.flags
    assert start.variables <= {variable(flag) for flag in command.flags}


@pytest.mark.parametrize("start", DEPLOYED, ids=start_id)
def test_what_a_command_needs_is_given(start: Start) -> None:
    missing = {
        flag for flag in COMMANDS[start.command].needed if flag not in start.flags and variable(flag) not in start.variables
    }
    assert not missing


@pytest.mark.parametrize("start", DEPLOYED, ids=start_id)
def test_nothing_is_given_twice(start: Start) -> None:
    assert not {variable(flag) for flag in start.flags} & start.variables


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    """The real argument parser, imported here so that the files' form is checked even where the CLI cannot be imported."""
    from foliot_gateway.cli.main import build_parser

    return build_parser()


@pytest.mark.parametrize("start", DEPLOYED + DOCUMENTED, ids=start_id)
def test_the_real_parser_takes_it(start: Start, parser: argparse.ArgumentParser) -> None:
    parser.parse_args(list(start.argv))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_real_parser_has_the_fixed_flags(name: str, parser: argparse.ArgumentParser) -> None:
    # argparse has no public way to list its commands.
    (commands,) = (action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    flags = {option for action in commands[name]._actions for option in action.option_strings}
    assert COMMANDS[name].flags <= flags


def test_every_component_is_deployed() -> None:
    services = compose()["services"]
    assert services["postgres"]["image"] == "postgres:18"
    assert services["redis"]["image"].startswith("redis:")
    commands = sorted(start.command for start in starts_in_compose())
    assert commands == ["gateway", "scheduler", "scheduler", "worker", "worker"]
    assert [path.stem for path in UNITS] == ["foliot-gateway", "foliot-scheduler", "foliot-worker"]


def test_compose_services_find_each_other() -> None:
    services = compose()["services"]
    advertised = set()
    for name, service in compose_services().items():
        if service["command"][0] == "scheduler":
            address = service["command"][service["command"].index("--advertise") + 1]
            assert address == f"{name}:7070"
            advertised.add(address)
            assert "@postgres:5432/foliot" in service["environment"]["FOLIOT_DATABASE_URL"]
        else:
            assert set(service["environment"]["FOLIOT_SCHEDULER"].split(",")) == {"scheduler-0:7070", "scheduler-1:7070"}
        assert set(service["depends_on"]) <= set(services)
    assert advertised == {"scheduler-0:7070", "scheduler-1:7070"}


def test_compose_publishes_on_loopback_only_and_waits_for_a_drain() -> None:
    for name, service in compose()["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
    for name, service in compose_services().items():
        assert int(service["stop_grace_period"].removesuffix("s")) > DRAIN_S, name


def test_compose_holds_no_password_and_no_key() -> None:
    for service in compose()["services"].values():
        for key, value in service.get("environment", {}).items():
            if key.endswith(("PASSWORD", "DATABASE_URL")):
                assert "${POSTGRES_PASSWORD:?" in value
            elif key.endswith("KEY"):
                assert re.match(r"\$\{FOLIOT_(BOOTSTRAP|WORKER)_KEY:\?", value)


def test_compose_asks_everybody_who_they_are() -> None:
    for start in starts_in_compose():
        assert "--insecure" not in start.flags
        assert start.command != "scheduler" or {"FOLIOT_BOOTSTRAP_KEY", "FOLIOT_WORKER_KEY"} <= start.variables
        assert start.command == "scheduler" or "FOLIOT_API_KEY" in start.variables


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units_are_hardened_and_wait_for_a_drain(path: pathlib.Path) -> None:
    sections = unit(path)
    assert sections.sections() == ["Unit", "Service", "Install"]
    service = sections["Service"]
    assert service["User"] not in {"", "root"}
    assert service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""
    assert int(service["TimeoutStopSec"]) > DRAIN_S
    assert service["RestartPreventExitStatus"] == "2"
    # Without credentials a component listens on loopback only, and a unit must start as it is.
    for name, value in (pair.split("=", 1) for pair in shlex.split(service["Environment"])):
        assert value.startswith("127.0.0.1:"), name


def containerfile() -> list[tuple[str, str]]:
    """The instructions of the Containerfile: (name, arguments)."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Containerfile").read_text(), flags=re.MULTILINE)
    instructions = [line.split(maxsplit=1) for line in text.replace("\\\n", " ").splitlines() if line]
    return [(name, arguments.strip()) for name, arguments in instructions]


def test_the_image_runs_foliot_and_not_as_root() -> None:
    instructions = containerfile()
    last_stage = [name for name, _ in instructions][::-1].index("FROM") + 1
    final = dict(instructions[-last_stage:])
    assert final["FROM"] == "python:3.11-slim"
    assert final["USER"] == "foliot"
    assert json.loads(final["ENTRYPOINT"]) == ["foliot"]
    published = {port.rpartition(":")[2] for service in compose_services().values() for port in service.get("ports", [])}
    assert set(final["EXPOSE"].split()) == published


def test_the_image_is_built_from_files_that_exist() -> None:
    for name, arguments in containerfile():
        if name == "COPY" and not arguments.startswith("--from"):
            *sources, _ = arguments.split()
            assert all((ROOT / source).exists() for source in sources), arguments
