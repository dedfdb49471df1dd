"""Credentials from the outside: a stack that requires them, its keys, and who is let in."""

from __future__ import annotations

import functools
import json
import os
import stat
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import jwt
import psutil
import pytest

from foliot.client import Client
from foliot.kit.settings import HostPort
from foliot_gateway.cli.keys import list_
from foliot_gateway.cli.settings import KeysSettings
from tests.integration.cli.test_up import Up
from tests.processes import Daemon, Stack, free_port

if TYPE_CHECKING:
    from pathlib import Path


def keys(address: str, key: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `foliot keys`."""
    return asked(address, key, "keys", *arguments)


def audit(address: str, key: str, *arguments: str) -> str:
    """What `foliot audit` prints."""
    ended = asked(address, key, "audit", *arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def asked(address: str, key: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command that asks a scheduler."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FOLIOT_")}
    return subprocess.run(
        [sys.executable, "-m", "foliot_gateway.cli.main", *arguments, "--scheduler", address],
        env={**environ, "FOLIOT_API_KEY": key},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def made(address: str, key: str, *arguments: str) -> Any:
    ended = keys(address, key, *arguments, "--json")
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_who_made_a_key_is_told_by_command(secured_stack: Stack) -> None:
    address = secured_stack.addresses[0]
    admin = secured_stack.create_key("admin", "told")
    key = made(address, admin, "create", "--name", "ci", "--role", "viewer")
    table, shown = (audit(address, admin, "--limit", "1", *style) for style in ([], ["--json"]))
    assert "AccessService/CreateApiKey" in table
    assert key["id"] in table
    (record,) = json.loads(shown)
    assert (record["project"], record["role"], record["object_count"]) == ("told", "admin", 1)


def http_with(stack: Stack, key: str) -> httpx.Client:
    """A client of a stack's gateway that shows a key."""
    return httpx.Client(base_url=stack.http_url, trust_env=False, headers={"Authorization": f"ApiKey {key}"})


def test_keys_are_made_listed_used_and_revoked_by_command(secured_stack: Stack) -> None:
    address, admin = secured_stack.addresses[0], secured_stack.admin_key
    key = made(address, admin, "create", "--name", "ci", "--role", "operator", "--project", "acme", "--expires", "1d")
    assert (key["project"], key["role"], key["revoked_at"]) == ("acme", "operator", None)
    assert key["secret"].startswith(key["hint"])

    with httpx.Client(
        base_url=secured_stack.http_url, trust_env=False, headers={"Authorization": f"ApiKey {key['secret']}"}
    ) as http:
        assert http.post("/jobs", json={"name": "mine"}).status_code == 201
        assert [job["name"] for job in http.get("/jobs").json()] == ["mine"]

        listed = keys(address, admin, "list")
        assert key["id"] in listed.stdout
        assert key["secret"] not in listed.stdout

        assert keys(address, admin, "revoke", key["id"]).returncode == 0
        answer = http.get("/jobs")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("ApiKey")
    assert key["secret"] not in answer.text


def test_only_admins_make_keys(secured_stack: Stack) -> None:
    operator = secured_stack.create_key("operator")
    ended = keys(secured_stack.addresses[0], operator, "create", "--name", "x", "--role", "admin")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "role admin" in ended.stderr
    ended = keys(secured_stack.addresses[0], "fol_wrong", "list")
    assert ended.returncode == 1
    assert "fol_wrong" not in ended.stderr


def test_a_wrong_option_is_named(secured_stack: Stack) -> None:
    address, admin = secured_stack.addresses[0], secured_stack.admin_key
    ended = keys(address, admin, "create", "--name", "n" * 300, "--role", "viewer")
    assert (ended.returncode, "--name" in ended.stderr) == (2, True)
    ended = keys(address, admin, "revoke", "not-an-id")
    assert (ended.returncode, "--api-key-id" in ended.stderr) == (2, True)


@pytest.mark.parametrize("path", ["/jobs", "/api/v1/health", "/openapi.yaml"])
def test_http_asks_for_credentials_but_not_for_what_everybody_may_know(secured_stack: Stack, path: str) -> None:
    answer = httpx.get(secured_stack.http_url + path, trust_env=False)
    assert answer.status_code == (401 if path == "/jobs" else 200)


def test_the_project_header_names_the_project_of_a_key_for_all(secured_stack: Stack) -> None:
    with http_with(secured_stack, secured_stack.create_key("operator")) as http:
        job = http.post("/jobs", json={"name": "theirs"}, headers={"Foliot-Project": "header-project"}).json()
        assert http.get(f"/jobs/{job['id']}").status_code == 404
        assert http.get(f"/jobs/{job['id']}", headers={"Foliot-Project": "header-project"}).status_code == 200
        for name in ("p" * 101, "*", "a b", "a/b", "a%20b"):
            refused = http.get("/jobs", headers={"Foliot-Project": name})
            assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "Foliot-Project")
    own = {"Authorization": f"ApiKey {secured_stack.create_key('operator', 'header-project')}"}
    assert httpx.get(f"{secured_stack.http_url}/jobs/{job['id']}", trust_env=False, headers=own).status_code == 200
    elsewhere = {**own, "Foliot-Project": "default"}
    assert httpx.get(f"{secured_stack.http_url}/jobs", trust_env=False, headers=elsewhere).status_code == 403


def test_a_worker_without_a_good_key_is_refused_and_says_so(secured_stack: Stack, tmp_path: Path) -> None:
    arguments = ["worker", "--scheduler", secured_stack.addresses[0], "--data-dir", str(tmp_path / "worker")]
    for key, told in (
        ("", "credentials are required"),
        ("fol_wrong", "wrong"),
        (secured_stack.create_key("viewer"), "role worker"),
    ):
        with Daemon(arguments, tmp_path / "log", {"FOLIOT_API_KEY": key}) as worker:
            worker.wait_logged(told)
            assert worker.process.poll() is None, "it may yet be let in"
            assert worker.log_tail().count(told) < 5, "it does not knock again and again"
        (tmp_path / "log").unlink()


def test_a_gateway_opens_to_others_only_before_a_scheduler_that_checks(
    secured_stack: Stack, stack: Stack, tmp_path: Path
) -> None:
    listen = ["--http", f"0.0.0.0:{free_port()}", "--chadburn-http", f"127.0.0.1:{free_port()}"]
    with Daemon(["gateway", "--scheduler", secured_stack.addresses[0], *listen], tmp_path / "good.log") as gateway:
        assert "0.0.0.0" in gateway.wait_ready()
    with Daemon(["gateway", "--scheduler", stack.addresses[0], *listen], tmp_path / "bad.log") as gateway:
        assert gateway.process.wait(30) == 2
        assert "--http" in gateway.log_tail()


def test_up_makes_a_key_for_itself_and_its_user(tmp_path: Path) -> None:
    with Up(tmp_path, "--auth", "required") as up:
        line = up.wait_ready()
        path = tmp_path / "data" / "admin-key"
        assert str(path) in line
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        key = path.read_text().strip()
        url = f"http://{up.http}"
        assert httpx.get(f"{url}/jobs", trust_env=False).status_code == 401
        with httpx.Client(base_url=url, trust_env=False, headers={"Authorization": f"ApiKey {key}"}) as http:
            # A program of others looks at whatever it can: what it was given, and what its worker and `foliot up` were.
            curious = (
                "env; pid=$PPID; for level in worker up; do cat /proc/$pid/environ /proc/$pid/cmdline | tr '\\0' '\\n'; "
                "pid=$(sed -n 's/^PPid:[[:space:]]*//p' /proc/$pid/status); done"
            )
            task = http.post("/api/tasks", json={"name": "curious", "command": curious}).json()["data"]["id"]
            while (found := http.get(f"/api/tasks/{task}").json()["data"])["status"] not in {"completed", "failed"}:
                pass
            assert found["status"] == "completed"
            assert str(up.process.pid) in " ".join(found["result"].split()), "it has seen its worker's command line"
            assert key not in found["result"]
            assert "FOLIOT_API_KEY" not in found["result"]
            status = http.get("/api/system/status").json()["data"]["components"]
            assert status["api_server"]["instance_count"] == 1
        for process in up.descendants():
            with suppress(psutil.NoSuchProcess):
                assert key not in " ".join([*process.cmdline(), *process.environ().values()])
        assert up.stop() == 0
        assert key not in up.log_tail()


def token(secret: str, **claims: Any) -> dict[str, str]:
    """The header that shows a token of an issuer of one's own."""
    known = {"sub": "ada", "project_id": "acme", "role": "operator", "exp": 4_102_444_800}
    return {"Authorization": f"Bearer {jwt.encode({**known, **claims}, secret, 'HS256')}"}


def test_up_takes_tokens_of_an_issuer(tmp_path: Path) -> None:
    secret = "s3cret-" * 10
    (tmp_path / "secret").write_text(secret)
    with Up(tmp_path, "--jwt-secret-file", str(tmp_path / "secret"), "--jwt-issuer", "us", "--jwt-audience", "foliot") as up:
        up.wait_ready()
        ours: dict[str, Any] = {"iss": "us", "aud": "foliot"}
        with httpx.Client(base_url=f"http://{up.http}", trust_env=False) as http:
            assert http.get("/jobs").status_code == 401, "whoever gives a way to check tokens wants them checked"
            assert http.post("/jobs", json={"name": "theirs"}, headers=token(secret, **ours)).status_code == 201
            assert [job["name"] for job in http.get("/jobs", headers=token(secret, **ours)).json()] == ["theirs"]
            assert http.get("/jobs", headers=token(secret, **ours, project_id="other")).json() == []
            assert http.post("/jobs", json={"name": "x"}, headers=token(secret, **ours, role="viewer")).status_code == 403
            for wrong in (
                token("another-" * 10, **ours),
                token(secret, **ours, exp=1),
                token(secret, iss="them", aud="foliot"),
                token(secret, iss="us", aud="others"),
            ):
                assert http.get("/jobs", headers=wrong).status_code == 401
        assert up.stop() == 0
        assert secret not in up.log_tail()


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    nobody = HostPort("127.0.0.1", free_port())
    monkeypatch.setattr("foliot_gateway.cli.asking.HINT_AFTER_S", 0.0)
    monkeypatch.setattr("foliot_gateway.cli.asking.Client", functools.partial(Client, timeout_s=0.5))
    assert list_(KeysSettings(scheduler=(nobody,), api_key="fol_any")) == 1
    waiting, error = capfd.readouterr().err.splitlines()
    assert f"no answer from {nobody} yet" in waiting
    assert str(nobody) in error


def test_a_key_has_the_rate_limit_that_it_was_made_with(secured_stack: Stack) -> None:
    limited = made(
        secured_stack.addresses[0], secured_stack.admin_key, "create", "--name", "few", "--role", "viewer",
        "--requests-per-minute", "3",
    )  # fmt: skip
    with http_with(secured_stack, limited["secret"]) as http:
        answers = [http.get("/jobs") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert {answer.headers["x-ratelimit-limit"] for answer in answers} == {"3"}
    assert int(answers[-1].headers["retry-after"]) >= 1
    with http_with(secured_stack, secured_stack.admin_key) as http:
        assert http.get("/jobs").status_code == 200
