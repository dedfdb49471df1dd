"""Settings: where values come from, which wins, and what a wrong one is told."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from foliot.kit.settings import (
    FieldError,
    HostPort,
    SettingsError,
    add_flags,
    boolean,
    byte_size,
    choice,
    comma_list,
    duration,
    file_path,
    host_port,
    host_port_list,
    key_value,
    load,
    non_negative_int,
    option,
    options,
    positive_int,
    text,
    url,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What several have."""

    log_format: str = option(choice("json", "text"), default="text")
    """How log lines look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Shared):
    """Of a pretended daemon."""

    database_url: str = option(url("postgresql", "postgres"), secret=True)
    """Where the database is,
    with 100% of its password."""

    grpc: HostPort = option(host_port, default=HostPort("127.0.0.1", 7070))
    """Where it listens."""

    concurrency: int = option(positive_int, default=4, maximum=1_000)
    """How much at once."""

    lease_ttl: timedelta = option(duration, default=timedelta(seconds=30), minimum=timedelta(seconds=1))
    """How long a lease lasts."""

    queues: tuple[str, ...] = option(comma_list, default=())
    """Queues to serve."""

    label: Mapping[str, str] = option(key_value, default={})
    """Labels to carry."""

    insecure: bool = option(boolean, default=False)

    def __post_init__(self) -> None:
        if not self.grpc.is_loopback and not self.insecure:
            raise FieldError("grpc", "is reachable from outside, which needs --insecure")


URL = "postgresql://user:hunter2@db/foliot"


def loaded(*args: str, environ: Mapping[str, str] | None = None, toml: Path | None = None) -> Settings:
    parser = argparse.ArgumentParser()
    add_flags(parser, Settings)
    flags = vars(parser.parse_args(args))
    return load(Settings, flags=flags, environ=environ or {}, toml_path=toml, also_known=["workers"])


def refused(*args: str, environ: Mapping[str, str] | None = None, toml: Path | None = None) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        loaded(*args, environ=environ, toml=toml)
    return caught.value


def written(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "foliot.toml"
    path.write_text(content)
    return path


def test_defaults_hold_where_nothing_is_said() -> None:
    settings = loaded("--database-url", URL)
    assert settings == Settings(database_url=URL)
    assert settings.grpc == HostPort("127.0.0.1", 7070)
    assert settings.label == {}


def test_a_flag_wins_over_a_variable_over_a_key(tmp_path: Path) -> None:
    toml = written(tmp_path, f'database_url = "{URL}"\nconcurrency = 1\nqueues = ["a", "b"]\nlease_ttl = 5\n')
    environ = {"FOLIOT_CONCURRENCY": "2", "FOLIOT_QUEUES": "c, d", "PATH": "/bin"}
    settings = loaded("--concurrency", "3", environ=environ, toml=toml)
    assert settings.concurrency == 3
    assert settings.queues == ("c", "d")
    assert settings.lease_ttl == timedelta(seconds=5)


def test_lists_and_pairs_may_be_repeated_flags_or_tables(tmp_path: Path) -> None:
    toml = written(tmp_path, f'database_url = "{URL}"\nlabel = {{zone = "a"}}\n')
    assert loaded(toml=toml).label == {"zone": "a"}
    settings = loaded("--label", "zone=b", "--label", "gpu=yes,ssd=", "--queues", "x", "--queues", "y", toml=toml)
    assert settings.label == {"zone": "b", "gpu": "yes", "ssd": ""}
    assert settings.queues == ("x", "y")


def test_switches_go_both_ways(tmp_path: Path) -> None:
    toml = written(tmp_path, f'database_url = "{URL}"\ninsecure = true\n')
    assert loaded(toml=toml).insecure
    assert not loaded("--no-insecure", toml=toml).insecure
    assert not loaded(environ={"FOLIOT_INSECURE": "off"}, toml=toml).insecure


def test_an_empty_variable_counts_as_not_set() -> None:
    assert loaded("--database-url", URL, environ={"FOLIOT_CONCURRENCY": ""}).concurrency == 4


def test_options_of_other_commands_may_stand_in_environment_and_file(tmp_path: Path) -> None:
    toml = written(tmp_path, f'database_url = "{URL}"\nworkers = 3\n')
    assert loaded(environ={"FOLIOT_WORKERS": "2"}, toml=toml).database_url == URL


@pytest.mark.parametrize(
    ("args", "environ", "key", "option_name", "message"),
    [
        (("--concurrency", "0"), {}, "", "--concurrency", "must be 1 or more"),
        (("--concurrency", "1001"), {}, "", "--concurrency", "at most 1000"),
        ((), {"FOLIOT_CONCURRENCY": "many"}, "", "FOLIOT_CONCURRENCY", "whole number"),
        ((), {}, "concurrency = 1.5", "key concurrency in", "whole number"),
        ((), {}, "concurrency = true", "key concurrency in", "whole number"),
        (("--lease-ttl=-5s",), {}, "", "--lease-ttl", "duration"),
        (("--lease-ttl", "10ms"), {}, "", "--lease-ttl", "at least 1s"),
        (("--grpc", "0.0.0.0:7070"), {}, "", "--grpc", "--insecure"),
        ((), {"FOLIOT_GRPC": "[::]:7070"}, "", "FOLIOT_GRPC", "--insecure"),
        ((), {"FOLIOT_GRCP": "x:1"}, "", "FOLIOT_GRCP", "did you mean FOLIOT_GRPC?"),
        ((), {"FOLIOT_concurrency": "1"}, "", "FOLIOT_concurrency", "no such option"),
        ((), {}, "concurency = 1", "key concurency in", "did you mean concurrency?"),
        ((), {}, "[worker]\nx = 1", "key worker in", "no such option"),
        ((), {}, "label = {a = 1}", "key label in", "texts only"),
    ],
)
def test_a_wrong_option_is_named_as_it_was_written(  # noqa: PLR0917 -- a table
    tmp_path: Path, args: tuple[str, ...], environ: dict[str, str], key: str, option_name: str, message: str
) -> None:
    error = refused(*args, environ={"FOLIOT_DATABASE_URL": URL, **environ}, toml=written(tmp_path, key))
    assert error.option.startswith(option_name)
    assert message in error.message
    assert str(error) == f"{error.option}: {error.message}"


def test_what_is_required_says_its_three_names() -> None:
    error = refused()
    assert error.option == "--database-url"
    assert "FOLIOT_DATABASE_URL" in error.message
    assert "key database_url" in error.message


def test_secrets_are_not_shown() -> None:
    assert "hunter2" not in repr(Settings(database_url=URL))
    error = refused("--database-url", "mysql://root:hunter2@db")
    assert "hunter2" not in str(error)
    assert error.__cause__ is None


def test_what_is_wrong_with_a_secret_is_said_where_it_can_be_without_quoting_it() -> None:
    assert (
        refused("--database-url", "mysql://root:hunter2@db").message
        == "must be a URL that begins with postgresql:// or postgres://"
    )


@pytest.mark.parametrize("content", [b"= 1", b"a = '\xff'"])
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "foliot.toml"
    path.write_bytes(content)
    error = refused("--database-url", URL, toml=path)
    assert error.option == f"--config {path}"
    assert "not TOML" in error.message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    error = refused("--database-url", URL, toml=tmp_path / "absent.toml")
    assert "No such file" in error.message


def test_options_tell_what_users_see() -> None:
    found = {one.name: one for one in options(Settings)}
    assert list(found)[:2] == ["log_format", "database_url"]
    url_option = found["database_url"]
    assert (url_option.flag, url_option.variable) == ("--database-url", "FOLIOT_DATABASE_URL")
    assert url_option.required
    assert url_option.help == "Where the database is, with 100% of its password."
    assert found["grpc"].default == "127.0.0.1:7070"
    assert found["lease_ttl"].default == "30s"
    assert not found["insecure"].help


def test_help_shows_docs_defaults_and_variables() -> None:
    parser = argparse.ArgumentParser(prog="x")
    add_flags(parser, Settings)
    shown = " ".join(parser.format_help().split())
    assert "with 100% of its password. [FOLIOT_DATABASE_URL]" in shown
    assert "--grpc GRPC Where it listens. Default: 127.0.0.1:7070. [FOLIOT_GRPC]" in shown
    assert "--insecure, --no-insecure" in shown


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("127.0.0.1:7070", HostPort("127.0.0.1", 7070)),
        ("db-1.example:0", HostPort("db-1.example", 0)),
        ("[::1]:8080", HostPort("::1", 8080)),
        ("[0:0::1]:65535", HostPort("::1", 65535)),
    ],
)
def test_host_and_port_are_read_and_shown(given: str, expected: HostPort) -> None:
    read = host_port(given)
    assert read == expected
    assert host_port(str(read)) == read


@pytest.mark.parametrize(
    "given",
    ["", "x", ":80", "x:", "x:65536", "x:0000000080", "x:-1", "x:8O", "::1:80", "[::1]", "[x]:80", "a b:80", "x:٣", 80],
)
def test_wrong_hosts_and_ports_are_refused(given: object) -> None:
    with pytest.raises(ValueError, match=r"HOST:PORT|port over|wrong address"):
        host_port(given)


def test_loopback_is_known() -> None:
    assert [host_port(one).is_loopback for one in ("localhost:1", "127.9.9.9:1", "[::1]:1")] == [True] * 3
    assert [host_port(one).is_loopback for one in ("example.org:1", "0.0.0.0:1", "[::]:1")] == [False] * 3


def test_lists_of_hosts() -> None:
    assert host_port_list("a:1,b:2") == (HostPort("a", 1), HostPort("b", 2))
    with pytest.raises(ValueError, match="at least one"):
        host_port_list(" , ")


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("5s", 5), ("1m", 60), ("250ms", 0.25), ("1h30m", 5400), ("1.5h", 5400), ("7", 7), ("0", 0), (2.5, 2.5), ("1d", 86_400)],
)
def test_durations(given: object, seconds: float) -> None:
    assert duration(given) == timedelta(seconds=seconds)


@pytest.mark.parametrize("given", ["", "-1", "-1s", "5 parsecs", "1m 30s", "nan", "inf", -1, True, "1e300", [], "s"])
def test_wrong_durations_are_refused(given: object) -> None:
    with pytest.raises(ValueError, match=r"duration|too long"):
        duration(given)


@pytest.mark.parametrize(
    ("given", "size"),
    [("4096", 4096), ("16MiB", 16 << 20), ("16m", 16 << 20), ("10MB", 10_000_000), ("1.5KiB", 1536), (7, 7), ("2 GiB", 2 << 30)],
)
def test_sizes(given: object, size: int) -> None:
    assert byte_size(given) == size


@pytest.mark.parametrize("given", ["", "-1", "1.5", "1XB", 1.0, True, "MiB"])
def test_wrong_sizes_are_refused(given: object) -> None:
    with pytest.raises(ValueError, match=r"size|whole number"):
        byte_size(given)


def test_other_values() -> None:
    assert non_negative_int("0") == 0
    assert boolean("Yes") is True
    assert file_path("~/x") == Path.home() / "x"
    assert url("http")("http://h:80/p") == "http://h:80/p"
    assert comma_list(" a,,b ") == ("a", "b")


@pytest.mark.parametrize(
    ("parse", "given"),
    [
        (non_negative_int, "-1"),
        (boolean, "maybe"),
        (text, " "),
        (text, 5),
        (comma_list, [1]),
        (key_value, "novalue"),
        (key_value, "=x"),
        (key_value, "a=1,a=2"),
        (choice("a", "b"), "c"),
        (url("postgresql"), "postgresql://h:port/x"),
        (url("postgresql"), "/tmp/x"),
    ],
)
def test_other_wrong_values_are_refused(parse: object, given: object) -> None:
    assert callable(parse)
    with pytest.raises(ValueError, match=r"must|gives|is not"):
        parse(given)
