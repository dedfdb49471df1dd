"""Every connection over TLS: callers to the gateway, gateway and worker to schedulers, schedulers to each other."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.certificates import Authority, Signed
from tests.integration.cli.test_credentials import keys
from tests.postgres import PostgresServer
from tests.processes import Daemon, free_port

ADMIN_KEY = "the-admin-key-that-these-tests-begin-with"
WORKER_KEY = "the-worker-key-that-these-tests-begin-with"


class SecureStack:
    """Two schedulers, a worker and a gateway, which trust one authority and ask each other for certificates of it."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.authority = Authority(folder / "ours")
        self.own = self.authority.sign("component")
        self.strangers = Authority(folder / "theirs")
        self.database_url = database_url
        self.folder = folder
        self.schedulers = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        self.http = f"127.0.0.1:{free_port()}"
        self.running: list[Daemon] = []

    def run(self, *arguments: str, **variables: str) -> Daemon:
        """Start a command and wait until it is ready."""
        daemon = Daemon(arguments, self.folder / f"{arguments[0]}.log", variables)
        self.running.append(daemon)
        daemon.wait_ready()
        return daemon

    def start(self) -> None:
        """Start everything."""
        ca, own = str(self.authority.ca), self.own
        pair = ("--tls-cert", str(own.certificate), "--tls-key", str(own.key))
        for address in self.schedulers:
            self.run(
                "scheduler", "--grpc", address, *pair, "--tls-client-ca", ca, "--tls-ca", ca,
                FOLIOT_DATABASE_URL=self.database_url, FOLIOT_BOOTSTRAP_KEY=ADMIN_KEY, FOLIOT_WORKER_KEY=WORKER_KEY,
            )  # fmt: skip
        # The second replica: what it is asked to change, it passes on to the first.
        follower = ("--scheduler", self.schedulers[1])
        self.run(
            "gateway", *follower, "--http", self.http, "--chadburn-http", f"127.0.0.1:{free_port()}", *pair,
            "--scheduler-tls-ca", ca, "--scheduler-tls-cert", str(own.certificate), "--scheduler-tls-key", str(own.key),
            FOLIOT_API_KEY=WORKER_KEY,
        )  # fmt: skip
        data = ("--data-dir", str(self.folder / "worker"))
        self.run("worker", *follower, *data, "--tls-ca", ca, *pair, FOLIOT_API_KEY=WORKER_KEY)

    def client(self, key: str = ADMIN_KEY) -> httpx.Client:
        """A client that trusts the authority."""
        trust = ssl.create_default_context(cafile=str(self.authority.ca))
        return httpx.Client(
            base_url=f"https://{self.http}", verify=trust, trust_env=False, headers={"Authorization": f"ApiKey {key}"}
        )


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer) -> Iterator[SecureStack]:
    name = postgres_server.create_database()
    stack = SecureStack(tmp_path_factory.mktemp("secure"), postgres_server.url(name))
    try:
        stack.start()
        yield stack
    finally:
        for daemon in reversed(stack.running):
            daemon.kill()
        postgres_server.drop_database(name)


def shake_hands(address: str, trusted: Path, identity: Signed | None) -> str:
    """Connect over TLS and read a byte; returns what went wrong, or nothing."""
    context = ssl.create_default_context(cafile=str(trusted))
    context.set_alpn_protocols(["h2"])
    if identity is not None:
        context.load_cert_chain(identity.certificate, identity.key)
    host, _, port = address.rpartition(":")
    try:
        with (
            socket.create_connection((host, int(port)), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=host) as tls,
        ):
            # In TLS 1.3 the server looks at the client's certificate after the client is done: its verdict comes later.
            return "" if tls.recv(1) else "closed"
    except (ssl.SSLError, ConnectionError) as error:
        return str(error) or type(error).__name__


def test_work_goes_all_the_way_and_nobody_else_gets_in(secure: SecureStack, tmp_path: Path) -> None:
    with secure.client() as http:
        task = http.post("/api/tasks", json={"name": "secret", "command": "echo done"}).json()["data"]["id"]
        while (found := http.get(f"/api/tasks/{task}").json()["data"])["status"] not in {"completed", "failed"}:
            pass
        assert found["result"] == "done\n"
        # The key that workers are started with works, and nothing more.
        for path in ("/api/tasks", "/jobs", "/api/v1/admin/stats"):
            assert http.get(path, headers={"Authorization": f"ApiKey {WORKER_KEY}"}).status_code == 403
        claim = http.post("/api/v1/jobs/claim", json={"executor_id": "x"}, headers={"Authorization": f"ApiKey {WORKER_KEY}"})
        assert claim.status_code == 204

    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://{secure.http}/api/v1/health", trust_env=False)
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"https://{secure.http}/api/v1/health", trust_env=False)

    own, stranger = secure.own, secure.strangers.sign("stranger")
    for scheduler in secure.schedulers:
        assert shake_hands(scheduler, secure.authority.ca, own) == ""
        assert shake_hands(scheduler, secure.authority.ca, None)
        assert shake_hands(scheduler, secure.authority.ca, stranger)
        assert shake_hands(scheduler, secure.strangers.ca, own)

    files = ("--tls-ca", str(secure.authority.ca), "--tls-cert", str(own.certificate), "--tls-key", str(own.key))
    made = keys(secure.schedulers[1], ADMIN_KEY, "create", "--name", "ci", "--role", "viewer", *files)
    assert made.returncode == 0, made.stderr
    wrong = keys(secure.schedulers[1], ADMIN_KEY, "list", "--tls-ca", str(tmp_path / "nowhere"))
    assert (wrong.returncode, "--tls-ca: cannot be read" in wrong.stderr) == (2, True)


def test_a_gateway_that_asks_for_certificates_takes_no_other_caller(secure: SecureStack) -> None:
    ca, own = str(secure.authority.ca), secure.own
    http = f"0.0.0.0:{free_port()}"
    secure.run(
        "gateway", "--scheduler", secure.schedulers[0], "--http", http, "--chadburn-http", f"127.0.0.1:{free_port()}",
        "--tls-cert", str(own.certificate), "--tls-key", str(own.key), "--tls-client-ca", ca,
        "--scheduler-tls-ca", ca, "--scheduler-tls-cert", str(own.certificate), "--scheduler-tls-key", str(own.key),
    )  # fmt: skip
    url = f"https://{http.replace('0.0.0.0', '127.0.0.1')}/api/v1/health"
    trust = ssl.create_default_context(cafile=ca)
    with pytest.raises(httpx.HTTPError):
        httpx.get(url, verify=trust, trust_env=False)
    trust.load_cert_chain(own.certificate, own.key)
    assert httpx.get(url, verify=trust, trust_env=False).json() == {"status": "healthy", "database": "connected"}
