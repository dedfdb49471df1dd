"""The nemesis: one fault after another, drawn from a seed, each healed before the next begins."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from tests.chaos.cluster import GATEWAYS, SCHEDULERS, WORKERS
from tests.chaos.history import Fault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.chaos.cluster import Cluster
    from tests.unit.core.dice import Dice

FREEZE_S: Final = (6.0, 9.0)
"""Longer than a lease, and than a leader may be silent (5 s each)."""

KINDS: Final = (
    "kill the leader",
    "kill a follower",
    "kill a worker",
    "kill a gateway",
    "freeze the leader",
    "freeze a worker",
    "restart PostgreSQL",
    "crash PostgreSQL",
    "kill Redis",
    "cut links",
    "silence links",
    "slow links",
    "silence the leader's PostgreSQL",
    "cut the leader's PostgreSQL",
    "hand over",
    "restart all schedulers",
)
"""Every kind of fault."""


class Nemesis:
    """Torments a cluster."""

    def __init__(self, cluster: Cluster, dice: Dice, *, kinds: tuple[str, ...] = KINDS) -> None:
        """Take the cluster, what decides, and the kinds of faults to draw from: all of them once before any comes again."""
        self._cluster = cluster
        self._dice = dice
        self._kinds = kinds
        self._drawn: list[str] = []
        self.faults: list[Fault] = []
        self._deeds: dict[str, Callable[[], Awaitable[str]]] = {
            "kill the leader": self._kill_leader,
            "kill a follower": self._kill_follower,
            "kill a worker": lambda: self._kill(self._a_worker()),
            "kill a gateway": lambda: self._kill(f"gateway-{dice.number(0, GATEWAYS - 1)}"),
            "freeze the leader": self._freeze_leader,
            "freeze a worker": lambda: self._freeze(self._a_worker()),
            "restart PostgreSQL": self._restart_database,
            "crash PostgreSQL": self._crash_database,
            "kill Redis": self._kill_redis,
            "cut links": lambda: self._spoil_links("cut"),
            "silence links": lambda: self._spoil_links("hole"),
            "slow links": lambda: self._spoil_links("slow"),
            "silence the leader's PostgreSQL": lambda: self._spoil_store("hole"),
            "cut the leader's PostgreSQL": lambda: self._spoil_store("cut"),
            "hand over": self._hand_over,
            "restart all schedulers": self._roll,
        }

    async def torment(self, every_s: float, until: float) -> None:
        """Do something every so often, counted from start to start, until a time of the wall clock."""
        cluster = self._cluster
        at = cluster.now() + every_s / 2
        while at < until:
            await cluster.clock.sleep(at - cluster.now())
            await self.do(self._draw())
            at = max(at + every_s, cluster.now() + every_s / 4)

    async def do(self, kind: str) -> None:
        """Do one thing, and heal it."""
        began = self._cluster.now()
        target = await self._deeds[kind]()
        self.faults.append(Fault(kind, target, began, self._cluster.now()))

    def _draw(self) -> str:
        if not self._drawn:
            left = list(self._kinds)
            while left:
                self._drawn.append(left.pop(self._dice.number(0, len(left) - 1)))
        return self._drawn.pop()

    # ---- processes

    async def _leader(self) -> str:
        """The process that leads; waits for one."""
        while True:
            index = await self._cluster.leader()
            if index is not None and self._cluster.runs(f"scheduler-{index}"):
                return f"scheduler-{index}"
            await self._cluster.clock.sleep(0.1)

    def _a_worker(self) -> str:
        return f"worker-{self._dice.number(0, WORKERS - 1)}"

    async def _kill(self, name: str) -> str:
        await self._cluster.kill(name)
        await self._cluster.clock.sleep(3 * self._dice.fraction())
        await self._cluster.start_process(name)
        return name

    async def _kill_leader(self) -> str:
        return await self._kill(await self._leader())

    async def _kill_follower(self) -> str:
        leader = await self._leader()
        return await self._kill(self._dice.pick([name for name in self._schedulers() if name != leader]))

    async def _freeze(self, name: str) -> str:
        least, most = FREEZE_S
        await self._cluster.freeze(name, least + (most - least) * self._dice.fraction())
        return name

    async def _freeze_leader(self) -> str:
        return await self._freeze(await self._leader())

    async def _hand_over(self) -> str:
        leader = await self._leader()
        await self._cluster.terminate(leader)
        await self._cluster.start_process(leader)
        return leader

    async def _roll(self) -> str:
        for name in self._schedulers():
            await self._cluster.terminate(name)
            await self._cluster.start_process(name)
        return "all"

    def _schedulers(self) -> list[str]:
        return [f"scheduler-{index}" for index in range(SCHEDULERS)]

    # ---- stores

    async def _restart_database(self) -> str:
        await self._cluster.terminate("database")
        await self._cluster.start_process("database")
        return "database"

    async def _crash_database(self) -> str:
        await self._cluster.crash_database()
        return "database"

    async def _kill_redis(self) -> str:
        await asyncio.to_thread(self._cluster.redis.kill)
        await self._cluster.clock.sleep(3 * self._dice.fraction())
        await asyncio.to_thread(self._cluster.redis.start)
        return "redis"

    # ---- links

    async def _spoil_links(self, how: str) -> str:
        """Break the links of one process, or of all clients, to some replicas or all; mostly the leader is among them."""
        name = self._dice.pick([self._a_worker(), "gateway-0", "gateway-1", "clients"])
        ports = set(self._dice.some(self._cluster.front_ports, 0.5) or self._cluster.front_ports)
        if self._dice.chance(0.75):
            ports.add(self._cluster.front_ports[int((await self._leader()).partition("-")[2])])
        met = await self._cluster.spoil([(port, name) for port in sorted(ports)], how, 1 + 7 * self._dice.fraction())
        return f"{name} to {len(ports)} schedulers ({met} connections)"

    async def _spoil_store(self, how: str) -> str:
        leader = await self._leader()
        port = self._cluster.store_ports[int(leader.partition("-")[2])]
        met = await self._cluster.spoil([(port, leader)], how, 1 + 7 * self._dice.fraction())
        return f"{leader} ({met} connections)"
