"""How busy the machine is, read from /proc: about 50 us, at most once for each heartbeat."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from foliot.v1.worker_pb2 import Resources


class ResourceMeter:
    """Measures the machine; `directory` is in the file system whose usage counts. What cannot be read is 0."""

    def __init__(self, directory: Path, *, proc: Path = Path("/proc")) -> None:
        self._directory = directory
        self._stat = proc / "stat"
        self._meminfo = proc / "meminfo"
        self._busy = 0
        self._total = 0
        self._cpu_usage()  # the first figure counts from here

    def measure(self) -> Resources:
        """Answer the usage of processors since the last call, and of memory and disk now, each from 0 to 1."""
        return Resources(cpu_usage=self._cpu_usage(), memory_usage=self._memory_usage(), disk_usage=self._disk_usage())

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

    def _disk_usage(self) -> float:
        with contextlib.suppress(OSError, ZeroDivisionError):
            usage = shutil.disk_usage(self._directory)
            return usage.used / (usage.used + usage.free)
        return 0.0
