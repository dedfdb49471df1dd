"""How busy the machine is, for heartbeats: processors and memory from /proc, and a file system's use.

Reading /proc takes about 50 us and never waits for a disk. Asking a file system may: one on a network that has gone away answers
after minutes, or never, and the event loop that asks would lose all leases meanwhile. So a thread of its own asks, now and then,
and what it found last is what is told.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
from pathlib import Path
from typing import Final

from foliot.kit.clock import Clock
from foliot.v1.worker_pb2 import Resources

WINDOW_S: Final = 0.5
"""Usage of processors is measured over at least so long: the kernel counts in hundredths of a second. Asked again within it, the
meter answers what it answered before; heartbeats are a second apart."""

DISK_EVERY_S: Final = 10.0
"""How old the figure of the file system may get before it is asked again."""


class ResourceMeter:
    """Measures the machine; `directory` is in the file system whose usage counts. What cannot be read is 0."""

    def __init__(self, directory: Path, clock: Clock, *, proc: Path = Path("/proc")) -> None:
        self._directory = directory
        self._clock = clock
        self._stat = proc / "stat"
        self._meminfo = proc / "meminfo"
        self._busy = 0
        self._total = 0
        self._cpu_usage()  # the first figure counts from here
        self._measured_at = clock.monotonic()
        self._latest: Resources | None = None
        self._disk_usage = 0.0
        self._disk_asked_at = float("-inf")
        self._asking: threading.Thread | None = None
        self._ask_disk()

    def measure(self) -> Resources:
        """Answer the usage of processors since the figure before, of memory now, and of the disk lately, each from 0 to 1."""
        now = self._clock.monotonic()
        if self._latest is None or now - self._measured_at >= WINDOW_S:
            self._measured_at = now
            cpu, memory = self._cpu_usage(), self._memory_usage()
            self._latest = Resources(cpu_usage=cpu, memory_usage=memory, disk_usage=self._disk_usage)
        self._ask_disk()
        return self._latest

    def wait_disk(self, timeout_s: float) -> None:
        """Wait until the file system has answered, if it is being asked; for tests."""
        if self._asking is not None:
            self._asking.join(timeout_s)

    def _ask_disk(self) -> None:
        """Ask the file system unless that was lately, or is still going on."""
        now = self._clock.monotonic()
        if now - self._disk_asked_at < DISK_EVERY_S or (self._asking is not None and self._asking.is_alive()):
            return
        self._disk_asked_at = now
        # A daemon: one that hangs must not keep the process from ending.
        self._asking = threading.Thread(target=self._measure_disk, name="worker.disk_usage", daemon=True)
        self._asking.start()

    def _measure_disk(self) -> None:
        usage = 0.0
        with contextlib.suppress(OSError, ZeroDivisionError):
            found = shutil.disk_usage(self._directory)
            usage = found.used / (found.used + found.free)
        self._disk_usage = usage

    def _cpu_usage(self) -> float:
        with contextlib.suppress(OSError, ValueError, IndexError):
            # user nice system idle iowait irq softirq steal; the guest times after them are in user and nice already.
            times = [int(part) for part in self._stat.read_text().split("\n", 1)[0].split()[1:9]]
            total, busy = sum(times), sum(times) - times[3] - times[4]
            passed, worked = total - self._total, busy - self._busy
            self._total, self._busy = total, busy
            return min(1.0, max(0.0, worked / passed)) if passed > 0 else 0.0
        return 0.0

    def _memory_usage(self) -> float:
        with contextlib.suppress(OSError, ValueError, KeyError, ZeroDivisionError):
            lines = (line.split() for line in self._meminfo.read_text().splitlines())
            kib = {parts[0]: int(parts[1]) for parts in lines if len(parts) > 1}
            return min(1.0, max(0.0, 1 - kib["MemAvailable:"] / kib["MemTotal:"]))
        return 0.0
