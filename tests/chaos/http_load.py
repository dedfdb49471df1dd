"""The load through the gateways: tasks of the tasks API, and binary jobs that executors claim, keep alive and complete."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import httpx

from tests.chaos.evidence import command_line
from tests.chaos.history import Asked, Claim

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.chaos.cluster import Cluster
    from tests.unit.core.dice import Dice

EXECUTORS: Final = 2

CALL_TIMEOUT_S: Final = 10.0

ASK_AGAIN_S: Final = 0.5

HEARTBEAT_EVERY_S: Final = 1.0

REPEATED: Final = 0.1
"""How many of the acknowledged calls are repeated."""

_JOB: Final = {
    "binary_url": "https://example.com/binary",
    "binary_sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "priority": "background",
}

_SERVER_ERRORS: Final = 500


class HttpLoad:
    """Everything that is asked of the gateways."""

    def __init__(self, cluster: Cluster, dice: Dice) -> None:
        """Take the cluster, and what decides details."""
        self._cluster = cluster
        self._dice = dice
        self._number = 0
        self._stopping = False
        self._http = httpx.AsyncClient(timeout=CALL_TIMEOUT_S)
        self._streams: list[asyncio.Task[None]] = []
        self._executors: list[asyncio.Task[None]] = []
        self._asking: set[asyncio.Task[object]] = set()
        self._claims: list[Claim] = []
        self.asked: list[Asked] = []

    def claims(self) -> list[Claim]:
        """What executors were given."""
        return self._claims

    def start(self) -> None:
        """Begin to ask."""
        self._streams = [asyncio.create_task(self._stream(1.0, self._task)), asyncio.create_task(self._stream(1.0, self._job))]
        self._executors = [asyncio.create_task(self._execute(f"executor-{number}")) for number in range(EXECUTORS)]

    async def stop(self) -> None:
        """Ask for nothing new, and wait until every wish has its answer; executors go on."""
        self._stopping = True
        await asyncio.gather(*self._streams)
        while self._asking:
            await asyncio.wait(self._asking)

    async def close(self) -> None:
        """Have the executors end, and ask for nothing any more, whatever has no answer yet."""
        left: list[asyncio.Future[Any]] = [*self._executors, *self._streams, *self._asking]
        for one in left:
            one.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._http.aclose()

    # ---- wishes

    async def _task(self) -> None:
        name = self._name("http")
        line = command_line(self._cluster.evidence_folder, seconds=0.1)
        body = {"name": name, "command": line, "timeout_seconds": 60}
        await self._submit("task", name, "/api/tasks", body, lambda answer: str(answer["data"]["id"]).removeprefix("task-"))

    async def _job(self) -> None:
        name = self._name("queue")
        await self._submit("queue", name, "/api/v1/jobs", {**_JOB, "type": name}, lambda answer: str(answer["id"]))

    async def _submit(self, kind: str, name: str, path: str, body: dict[str, Any], read: Callable[[Any], str]) -> None:
        wish = Asked(kind, f"http-{name}", self._cluster.now(), [name])
        self.asked.append(wish)
        while not (wish.answers or wish.refused):
            await self._submit_once(wish, path, body, read)
            if not wish.answers:
                await self._cluster.clock.sleep(ASK_AGAIN_S)
        if self._dice.chance(REPEATED):
            await self._submit_once(wish, path, body, read)

    async def _submit_once(self, wish: Asked, path: str, body: dict[str, Any], read: Callable[[Any], str]) -> None:
        answer = await self._call("POST", path, body, wish.key)
        if isinstance(answer, str):
            wish.failures.append(answer)
        elif answer.is_success:
            wish.answers.append([read(answer.json())])
            wish.answered_at = wish.answered_at or self._cluster.now()
        else:
            wish.failures.append(f"HTTP {answer.status_code}")
            wish.refused = answer.status_code < _SERVER_ERRORS and answer.status_code not in {409, 429} and not wish.answers

    # ---- executors

    async def _execute(self, name: str) -> None:
        """Claim, work, complete, again and again."""
        while True:
            answer = await self._call("POST", "/api/v1/jobs/claim", {"executor_id": name, "executor_ip": "127.0.0.1"})
            if isinstance(answer, str) or answer.status_code != httpx.codes.OK:
                await self._cluster.clock.sleep(ASK_AGAIN_S)
                continue
            at = self._cluster.now()
            index = len(self._claims)
            self._claims.append(Claim(answer.json()["id"], name, at))
            await self._hold(index, name)

    async def _hold(self, index: int, name: str) -> None:
        """Work for a while, renewing the claim, and complete it; give it up when told that it is no longer held."""
        until = self._cluster.now() + 3 * self._dice.fraction()
        path = f"/api/v1/jobs/{self._claims[index].task}"
        while self._cluster.now() < until:
            await self._cluster.clock.sleep(min(HEARTBEAT_EVERY_S, max(0.0, until - self._cluster.now())))
            sent_at = self._cluster.now()
            answer = await self._call("PUT", f"{path}/heartbeat", {"executor_id": name})
            if isinstance(answer, str) or answer.status_code >= _SERVER_ERRORS:
                continue
            if not answer.is_success:
                return
            claim = self._claims[index]
            self._claims[index] = replace(claim, renewed=(*claim.renewed, sent_at))
        self._claims[index] = replace(self._claims[index], completing_at=self._cluster.now())
        while True:
            answer = await self._call(
                "PUT", f"{path}/complete", {"executor_id": name, "stdout": name, "stderr": "", "exit_code": 0}
            )
            if not isinstance(answer, str) and answer.status_code < _SERVER_ERRORS:
                break
            await self._cluster.clock.sleep(ASK_AGAIN_S)
        if answer.is_success:
            self._claims[index] = replace(self._claims[index], completed_at=self._cluster.now())

    # ---- calls

    async def _call(self, method: str, path: str, body: dict[str, Any], key: str = "") -> httpx.Response | str:
        """Ask one of the gateways; the answer is how it failed, if none came."""
        headers = {"Idempotency-Key": key} if key else {}
        try:
            return await self._http.request(
                method, self._dice.pick(self._cluster.gateway_urls) + path, json=body, headers=headers
            )
        except httpx.HTTPError as error:
            return f"HTTP {type(error).__name__}"

    async def _stream(self, every_s: float, wish: Callable[[], Awaitable[object]]) -> None:
        while not self._stopping:
            asking = asyncio.ensure_future(wish())
            self._asking.add(asking)
            asking.add_done_callback(self._asking.discard)
            await self._cluster.clock.sleep(every_s * (0.5 + self._dice.fraction()))

    def _name(self, kind: str) -> str:
        self._number += 1
        return f"{kind}-{self._number}"
