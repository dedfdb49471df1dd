"""A wrong setting stops the start with status 2 and a message that names it as the user wrote it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def foliot(*arguments: str, variables: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command that is to fail at once."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FOLIOT_")}
    return subprocess.run(
        [sys.executable, "-m", "foliot_gateway.cli.main", *arguments],
        env=environ | (variables or {}),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        stdin=subprocess.DEVNULL,
    )


NOBODY = "postgresql://foliot:hidden-word@127.0.0.1:1/foliot"  # nothing listens at a port that low

CASES = [
    (("scheduler", "--grpc", "127.0.0.1:0"), {}, "--database-url"),
    (("scheduler", "--database-url", "mysql://x/y", "--grpc", "127.0.0.1:0"), {}, "--database-url"),
    (("scheduler", "--database-url", NOBODY, "--grpc", "127.0.0.1:0"), {}, "--database-url"),
    (("up", "--database-url", "postgresql://u:hidden-word@h1:5432,,h2/d"), {}, "--database-url: leaves host 2 of it empty"),
    (("scheduler", "--database-url", NOBODY, "--grpc", "0.0.0.0:7070", "--auth", "off"), {}, "--grpc"),
    (("scheduler", "--database-url", NOBODY, "--grpc", "127.0.0.1:0"), {"FOLIOT_BOOTSTRAP_KEY": "hidden-word"}, "32 characters"),
    (("up", "--workers", "-1"), {}, "--workers"),
    (("up", "--jwt-secret-file", "s", "--jwt-jwks", "k"), {}, "--jwt-jwks"),
    (("up", "--jwt-jwks", "http://keys.example/jwks"), {}, "https"),
    (("up", "--http", "nowhere"), {}, "--http"),
    (("up", "--http", "0.0.0.0:8080", "--auth", "off"), {}, "--http"),
    (("up", "--auth", "maybe"), {}, "--auth"),
    (("up", "--http", "127.0.0.1:8085", "--chadburn-http", "127.0.0.1:8085"), {}, "--chadburn-http"),
    (("keys", "create", "--name", "x", "--role", "viewer", "--expires", "9999999d"), {}, "--expires"),
    (("up", "--colour", "red"), {}, "--colour"),
    (("worker", "--scheduler", "127.0.0.1:1", "--concurrency", "0"), {}, "--concurrency"),
    (("worker", "--scheduler", "127.0.0.1:1", "--app", "no_such_module:worker"), {}, "--app"),
    (("gateway", "--scheduler", "127.0.0.1:1", "--http", "127.0.0.1:99999"), {}, "--http"),
    (("up",), {"FOLIOT_WORKERS": "many"}, "FOLIOT_WORKERS"),
    (("up",), {"FOLIOT_WROKERS": "1"}, "FOLIOT_WROKERS"),
    (("up", "--config", "no-such-file.toml"), {}, "--config"),
    (("fly",), {}, "fly"),
]


@pytest.mark.parametrize(("arguments", "variables", "named"), CASES, ids=[" ".join(case[0]) + "".join(case[1]) for case in CASES])
def test_the_setting_is_named(arguments: tuple[str, ...], variables: dict[str, str], named: str) -> None:
    ended = foliot(*arguments, variables=variables)
    assert ended.returncode == 2, ended.stderr
    assert named in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "hidden-word" not in ended.stderr


def test_the_secrets_of_a_worker_are_no_options() -> None:
    ended = foliot("worker", "--scheduler", "nowhere", variables={"FOLIOT_SECRET_TOKEN": "hidden-word"})
    assert "--scheduler" in ended.stderr
    assert "FOLIOT_SECRET_TOKEN" not in ended.stderr


def test_a_key_of_the_file_is_named(tmp_path: Path) -> None:
    config = tmp_path / "foliot.toml"
    config.write_text('workers = "many"\n')
    ended = foliot("up", "--config", str(config))
    assert ended.returncode == 2
    assert "key workers" in ended.stderr
    assert str(config) in ended.stderr
