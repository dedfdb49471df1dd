"""HTTP tasks against a real server."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from foliot.kit.addresses import AddressPolicy
from foliot.kit.guarded_http import guarded_client
from foliot.v1 import spec_pb2
from foliot.v1.spec_pb2 import OUTCOME_FAILED, OUTCOME_NON_RETRYABLE, OUTCOME_SUCCEEDED, OUTCOME_TIMED_OUT
from foliot.v1.worker_pb2 import Lease
from foliot_worker.attempt import OUTPUT_BYTES_MAX
from foliot_worker.executors.http import HttpExecutor
from foliot_worker.plans import Kind
from foliot_worker.secrets import Secrets
from tests.integration.worker.http_server import Answer, HttpServer, Request
from tests.unit.worker.attempts import Bench, lease

Start = Callable[..., Bench]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    benches: list[Bench] = []

    def make(policy: AddressPolicy | None = None) -> Bench:
        bench = Bench()
        client = guarded_client(policy or AddressPolicy(), user_agent="foliot/test")
        secrets = Secrets({"FOLIOT_SECRET_API_TOKEN": "s3cr3t"}, tmp_path)
        benches.append(bench.use({Kind.HTTP: HttpExecutor(client, secrets, clock=bench.clock)}))
        return bench

    yield make
    for bench in benches:
        await bench.close()


def http(url: str, *, timeout_s: float | None = None, traceparent: str = "", **given: Any) -> Lease:
    spec = spec_pb2.TaskSpec(name="http", http=spec_pb2.HttpWork(url=url, **given))
    return lease(spec, timeout_s=timeout_s, traceparent=traceparent)


async def echo(request: Request) -> Answer:
    return Answer(body=f"{request.method} {request.path} ".encode() + request.body)


async def test_sends_what_was_asked_for(start: Start) -> None:
    async with HttpServer(echo) as server:
        one = http(
            server.url("/path?q=1"),
            method="POST",
            headers={"X-Own": "v", "X-Secret": "secret://api.token"},
            body=b"\x00body",
            bearer_secret="secret://api-token",
            traceparent="00-a-b-01",
        )
        result = await start().run(one)
        (request,) = server.requests
    assert (result.outcome, result.error, result.output) == (OUTCOME_SUCCEEDED, "", b"POST /path?q=1 \x00body")
    assert not result.HasField("exit_code")
    given = {name: request.headers[name] for name in ("x-own", "x-secret", "authorization", "traceparent", "user-agent")}
    assert given == {
        "x-own": "v",
        "x-secret": "s3cr3t",
        "authorization": "Bearer s3cr3t",
        "traceparent": "00-a-b-01",
        "user-agent": "foliot/test",
    }


@pytest.mark.parametrize("length", ["5", "50"])
async def test_a_length_that_is_not_the_body_s_ends_the_attempt(start: Start, length: str) -> None:
    async with HttpServer(echo) as server:
        result = await start().run(http(server.url("/"), method="POST", headers={"Content-Length": length}, body=b"eight by"))
    assert result.outcome in {OUTCOME_FAILED, OUTCOME_NON_RETRYABLE}
    assert "Content-Length" in result.error


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, OUTCOME_SUCCEEDED),
        (204, OUTCOME_SUCCEEDED),
        (301, OUTCOME_NON_RETRYABLE),
        (400, OUTCOME_NON_RETRYABLE),
        (404, OUTCOME_NON_RETRYABLE),
        (429, OUTCOME_FAILED),
        (500, OUTCOME_FAILED),
        (503, OUTCOME_FAILED),
    ],
)
async def test_the_status_decides(start: Start, status: int, outcome: int) -> None:
    async def answer(request: Request) -> Answer:
        return Answer(status, b"" if status == 204 else b"said")

    async with HttpServer(answer) as server:
        result = await start().run(http(server.url("/")))
    assert result.outcome == outcome
    assert result.output == (b"" if status == 204 else b"said")
    assert result.error == ("" if outcome == OUTCOME_SUCCEEDED else f"HTTP status {status} Because")


async def test_connections_are_reused_and_cookies_are_not_kept(start: Start) -> None:
    async def answer(request: Request) -> Answer:
        return Answer(headers={"set-cookie": "session=of-another; Path=/"})

    async with HttpServer(answer) as server:
        bench = start()
        for _ in range(3):
            await bench.run(http(server.url("/")))
        assert server.connections == 1
        assert all("cookie" not in request.headers for request in server.requests)


class TestRedirects:
    async def test_followed_within_the_host(self, start: Start) -> None:
        async def answer(request: Request) -> Answer:
            if request.path == "/see":
                return Answer(303, headers={"location": "/there"})
            if request.path == "/keep":
                return Answer(307, headers={"location": "there"})
            return await echo(request)

        async with HttpServer(answer) as server:
            bench = start()
            seen = await bench.run(http(server.url("/see"), method="POST", body=b"b"))
            kept = await bench.run(http(server.url("/keep"), method="POST", body=b"b"))
        assert (seen.output, kept.output) == (b"GET /there ", b"POST /there b")

    async def test_not_to_another_host_or_port(self, start: Start) -> None:
        async with HttpServer(echo) as other:

            async def answer(request: Request) -> Answer:
                return Answer(302, headers={"location": other.url("/") if request.path == "/" else "http://localhost/"})

            async with HttpServer(answer) as server:
                bench = start()
                results = [
                    await bench.run(http(server.url(path), headers={"X": "secret://api.token"})) for path in ("/", "/name")
                ]
            assert other.requests == []
        assert [result.outcome for result in results] == [OUTCOME_NON_RETRYABLE] * 2
        assert "redirects to another host" in results[0].error

    async def test_not_for_ever(self, start: Start) -> None:
        async def answer(request: Request) -> Answer:
            return Answer(302, headers={"location": request.path + "x"})

        async with HttpServer(answer) as server:
            result = await start().run(http(server.url("/")))
            assert len(server.requests) == 6
        assert result.outcome == OUTCOME_NON_RETRYABLE


class TestBodies:
    async def test_cut_at_the_cap(self, start: Start) -> None:
        async def answer(request: Request) -> Answer:
            return Answer(body=b"x" * (3 * OUTPUT_BYTES_MAX))

        async with HttpServer(answer) as server:
            result = await start().run(http(server.url("/")))
        assert result.outcome == OUTCOME_SUCCEEDED
        assert OUTPUT_BYTES_MAX - 100 < len(result.output) <= OUTPUT_BYTES_MAX
        assert result.output.endswith(b"\n[cut: the rest is not kept]\n")

    async def test_compression_is_undone(self, start: Start) -> None:
        async def answer(request: Request) -> Answer:
            return Answer(body=gzip.compress(b"plain"), headers={"content-encoding": "gzip"})

        async with HttpServer(answer) as server:
            assert (await start().run(http(server.url("/")))).output == b"plain"

    async def test_a_broken_one_fails(self, start: Start) -> None:
        async def answer(request: Request) -> Answer:
            return Answer(body=b"short", headers={"content-length": "5", "content-encoding": "gzip"})

        async with HttpServer(answer) as server:
            assert (await start().run(http(server.url("/")))).outcome == OUTCOME_FAILED


class TestTrouble:
    async def test_no_connection(self, start: Start) -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            result = await start().run(http(f"http://127.0.0.1:{closed.getsockname()[1]}/"))
        assert result.outcome == OUTCOME_FAILED
        assert "no connection to 127.0.0.1" in result.error

    async def test_no_such_host(self, start: Start) -> None:
        result = await start().run(http("http://no-such-host.invalid/"))
        assert result.outcome == OUTCOME_FAILED
        assert "no-such-host.invalid cannot be resolved" in result.error

    async def test_timeouts_of_the_request_and_of_the_task(self, start: Start) -> None:
        never = asyncio.Event()

        async def answer(request: Request) -> Answer:
            await never.wait()
            return Answer()

        async with HttpServer(answer) as server:
            bench = start()
            short = Duration(nanos=50_000_000)
            by_request = await bench.run(http(server.url("/"), request_timeout=short))
            by_task = await bench.run(http(server.url("/"), timeout_s=0.05))
            never.set()
        assert {by_request.outcome, by_task.outcome} == {OUTCOME_TIMED_OUT}

    async def test_stopped_at_once_even_before_it_begins(self, start: Start) -> None:
        bench = start()
        one = http("http://127.0.0.1:9/")
        bench.start(one)
        bench.stop(one)
        assert (await bench.result(one)).outcome == spec_pb2.OUTCOME_CANCELLED

    @pytest.mark.parametrize(
        "given",
        [
            {"url": "ftp://127.0.0.1/"},
            {"url": "http://[::1/"},
            {"headers": {"X": "secret://missing"}},
            {"headers": {"X": "secret://../../etc/passwd"}},
            {"headers": {"X": "a\r\nInjected: b"}},
            {"headers": {"X Y": "a"}},
            {"bearer_secret": "plain"},
        ],
        ids=lambda given: str(next(iter(given.values()))),
    )
    async def test_mistakes_are_not_tried_again(self, start: Start, given: dict[str, Any]) -> None:
        async with HttpServer(echo) as server:
            result = await start().run(http(**{"url": server.url("/"), **given}))
            assert server.requests == []
        assert result.outcome == OUTCOME_NON_RETRYABLE
        assert result.error
        assert "s3cr3t" not in result.error


class TestRefused:
    @pytest.mark.parametrize(
        "host", ["169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "2852039166", "[64:ff9b::a9fe:a9fe]"]
    )
    async def test_metadata_services(self, start: Start, host: str) -> None:
        result = await start().run(http(f"http://{host}/latest/meta-data/"))
        assert result.outcome == OUTCOME_NON_RETRYABLE
        assert "must not be reached" in result.error

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]"])
    async def test_private_addresses_where_denied(self, start: Start, host: str) -> None:
        result = await start(AddressPolicy(deny_private=True)).run(http(f"http://{host}:1/"))
        assert "must not be reached" in result.error

    async def test_a_name_is_judged_by_its_addresses(self, start: Start) -> None:
        denied = AddressPolicy([ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")])
        async with HttpServer(echo) as server:
            refused = await start(denied).run(http(server.url("/", host="localhost")))
            assert server.requests == []
            allowed = await start().run(http(server.url("/", host="localhost")))
            assert server.requests[0].headers["host"] == f"localhost:{server.port}"
        assert refused.outcome == OUTCOME_NON_RETRYABLE
        assert allowed.outcome == OUTCOME_SUCCEEDED
