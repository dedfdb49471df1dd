"""Downloaded executables: verified, kept, shared, and never run when wrong."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from foliot.kit.addresses import AddressPolicy
from foliot.kit.guarded_http import guarded_client
from foliot.v1 import spec_pb2
from foliot.v1.spec_pb2 import OUTCOME_CANCELLED, OUTCOME_FAILED, OUTCOME_NON_RETRYABLE, OUTCOME_SUCCEEDED
from foliot.v1.worker_pb2 import Lease
from foliot_worker.executors.binary import BinaryExecutor
from foliot_worker.executors.directories import Directories
from foliot_worker.executors.downloads import Downloads
from foliot_worker.executors.programs import Programs
from foliot_worker.plans import Kind
from tests.integration.worker.http_server import Answer, HttpServer, Request
from tests.unit.worker.attempts import Bench, lease

SCRIPT = b'#!/bin/sh\nprintf "%s|" "$@"; echo "$OWN"; cat; pwd\n'
SIZE_MAX = 10_000


class Server(HttpServer):
    """Serves files, slowly if told."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.files: dict[str, bytes] = {"/script": SCRIPT}
        self.open = asyncio.Event()
        self.open.set()

    async def _answer(self, request: Request) -> Answer:
        await self.open.wait()
        if request.path == "/moved":
            return Answer(302, headers={"location": self.url("/script", host="localhost")})
        if request.path == "/broken":
            return Answer(500)
        found = self.files.get(request.path)
        return Answer(404) if found is None else Answer(body=found)

    def binary(self, path: str = "/script", content: bytes = SCRIPT, **given: Any) -> Lease:
        digest = hashlib.sha256(content).hexdigest()
        work = spec_pb2.BinaryWork(**{"url": self.url(path), "sha256": digest, **given})
        return lease(spec_pb2.TaskSpec(name="binary", binary=work))


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    async with server:
        yield server


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with guarded_client(AddressPolicy(), user_agent="foliot/test") as client:
        yield client


@pytest.fixture
async def bench(tmp_path: Path, client: httpx.AsyncClient) -> AsyncIterator[Bench]:
    bench = Bench()
    directories = Directories(tmp_path / "data", bench.clock)
    programs = Programs(directories, bench.logs, bench.saver, clock=bench.clock, environ={})
    downloads = Downloads(tmp_path / "cache", client, size_max=SIZE_MAX, clock=bench.clock)
    bench.use({Kind.BINARY: BinaryExecutor(downloads, programs, clock=bench.clock)})
    yield bench
    await bench.close()
    await programs.close()


def cached(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache").iterdir())


async def test_runs_with_its_arguments_in_a_fresh_directory(bench: Bench, server: Server) -> None:
    result = await bench.run(server.binary(arguments=["a b", "$HOME", "", "'"], environment={"OWN": "v"}))
    assert (result.outcome, result.exit_code) == (OUTCOME_SUCCEEDED, 0)
    first, directory = result.output.decode().splitlines()
    assert first == "a b|$HOME||'|v"
    assert "/attempts/" in directory


async def test_downloaded_once_and_shared(bench: Bench, server: Server, tmp_path: Path) -> None:
    server.open.clear()
    leases = [server.binary() for _ in range(4)]
    bench.start(*leases)
    # One attempt that gives up does not take the file from the others.
    bench.stop(leases[0])
    assert (await bench.result(leases[0])).outcome == OUTCOME_CANCELLED
    server.open.set()
    for one in leases[1:]:
        assert (await bench.result(one)).outcome == OUTCOME_SUCCEEDED
    upper = server.binary(sha256=hashlib.sha256(SCRIPT).hexdigest().upper())
    assert (await bench.run(upper)).outcome == OUTCOME_SUCCEEDED
    assert len(server.requests) == 1
    assert cached(tmp_path) == [hashlib.sha256(SCRIPT).hexdigest()]


async def test_redirects_may_lead_elsewhere(bench: Bench, server: Server) -> None:
    assert (await bench.run(server.binary("/moved"))).outcome == OUTCOME_SUCCEEDED


async def test_a_mismatch_never_runs(bench: Bench, server: Server, tmp_path: Path) -> None:
    evidence = tmp_path / "ran"
    server.files["/evil"] = f"#!/bin/sh\ntouch {evidence}\n".encode()
    result = await bench.run(server.binary("/evil"))
    assert result.outcome == OUTCOME_NON_RETRYABLE
    assert "it was not run" in result.error
    assert not evidence.exists()
    assert cached(tmp_path) == []


async def test_a_kept_file_that_was_changed_is_fetched_again(bench: Bench, server: Server, tmp_path: Path) -> None:
    await bench.run(server.binary())
    evidence = tmp_path / "ran"
    path = tmp_path / "cache" / hashlib.sha256(SCRIPT).hexdigest()
    path.chmod(0o700)
    path.write_text(f"#!/bin/sh\ntouch {evidence}\n")
    assert (await bench.run(server.binary())).outcome == OUTCOME_SUCCEEDED
    assert not evidence.exists()
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/missing", (OUTCOME_NON_RETRYABLE, "HTTP status 404")),
        ("/broken", (OUTCOME_FAILED, "HTTP status 500")),
        ("/large", (OUTCOME_NON_RETRYABLE, "over 10000 bytes")),
    ],
)
async def test_failed_downloads(bench: Bench, server: Server, tmp_path: Path, path: str, expected: tuple[int, str]) -> None:
    server.files["/large"] = b"x" * (SIZE_MAX + 1)
    result = await bench.run(server.binary(path))
    assert result.outcome == expected[0]
    assert expected[1] in result.error
    assert cached(tmp_path) == []


async def test_no_connection_is_tried_again_and_a_refused_address_is_not(bench: Bench, server: Server) -> None:
    unreachable = await bench.run(server.binary(url="http://127.0.0.1:1/x"))
    refused = await bench.run(server.binary(url="http://169.254.169.254/x"))
    assert (unreachable.outcome, refused.outcome) == (OUTCOME_FAILED, OUTCOME_NON_RETRYABLE)


async def test_the_least_recently_used_goes_first(bench: Bench, server: Server, tmp_path: Path) -> None:
    contents = [b"#!/bin/sh\n#" + bytes([65 + number]) * 4_000 + b"\n" for number in range(3)]
    digests = [hashlib.sha256(content).hexdigest() for content in contents]
    for number, content in enumerate(contents):
        server.files[f"/{number}"] = content
    for number in (0, 1, 0, 2):
        result = await bench.run(server.binary(f"/{number}", contents[number]))
        assert result.outcome == OUTCOME_SUCCEEDED
    assert cached(tmp_path) == sorted([digests[0], digests[2]])


async def test_what_is_no_program_fails(bench: Bench, server: Server) -> None:
    server.files["/data"] = b"\x7fELF nonsense"
    result = await bench.run(server.binary("/data", b"\x7fELF nonsense"))
    assert result.outcome == OUTCOME_FAILED
    assert result.exit_code == 126
