"""What a worker can be told: see `foliot.kit.settings` for flags, variables and files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from foliot.kit.addresses import IpNetwork
from foliot.kit.settings import (
    FieldError,
    HostPort,
    boolean,
    byte_size,
    comma_list,
    duration,
    file_path,
    host_port_list,
    key_value,
    network_list,
    non_negative_int,
    option,
    positive_int,
    text,
)
from foliot.kit.tls import check_pair

CAPACITY_MAX: Final = 100_000
"""The contract's limit of leases held at once."""

SECRET_VARIABLE_PREFIX: Final = "FOLIOT_SECRET_"  # noqa: S105 -- a prefix of names
"""Variables that hold secrets for tasks: not options, and not to be judged as such (see `without_secrets`)."""

_PREFETCH: Final = 1_000
"""The leader gives so many ahead only of what it has seen this worker end fast."""

_ID_BYTES_MAX: Final = 255


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Answer the environment without the secrets in it: what the settings loader is to be given."""
    return {name: value for name, value in environ.items() if not name.startswith(SECRET_VARIABLE_PREFIX)}


def _default_data_dir() -> Path:
    return Path(tempfile.gettempdir()) / f"foliot-worker-{os.getuid()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """The settings of `foliot worker`."""

    scheduler: tuple[HostPort, ...] = option(host_port_list, placeholder="HOST:PORT[,...]")
    """Addresses of scheduler replicas, tried in turn until one names the leader."""

    concurrency: int = option(positive_int, default=16, maximum=10_000)
    """How many tasks run at once."""

    prefetch: int = option(non_negative_int, default=_PREFETCH, maximum=90_000)
    """How many leases may be kept ready beyond those that run, so that a slot is never idle for a round trip. The leader
    gives a few for each slot, and up to so many of tasks that this worker ends fast."""

    queues: tuple[str, ...] = option(comma_list, default=("default",))
    """Queues that tasks are taken from."""

    label: Mapping[str, str] = option(key_value, default={}, placeholder="KEY=VALUE")
    """Labels that tasks may ask for."""

    tags: tuple[str, ...] = option(comma_list, default=())
    """Tags shown to people."""

    app: str | None = option(text, default=None, placeholder="MODULE:WORKER")
    """The object with the functions of this worker, such as `pipeline:worker`."""

    worker_id: str | None = option(text, default=None)
    """Name of this worker, at most 255 bytes and unlike any other's; made up from the host's by default."""

    data_dir: Path = option(file_path, default=_default_data_dir())
    """Where the working directories of tasks and the cache of binaries are."""

    secrets_dir: Path | None = option(file_path, default=None)
    """A directory with one file for each secret that tasks may name; FOLIOT_SECRET_<NAME> variables come first."""

    binary_cache_size: int = option(byte_size, default=512 * 1024 * 1024)
    """Bytes of downloaded binaries that are kept; also the size of the largest one that is run."""

    deny_networks: tuple[IpNetwork, ...] = option(network_list, default=(), placeholder="RANGE[,...]")
    """Further address ranges that HTTP tasks and downloads must not reach."""

    deny_private: bool = option(boolean, default=False)
    """Whether HTTP tasks and downloads must not reach private and loopback addresses."""

    task_logs: bool = option(boolean, default=True)
    """Whether the output of tasks is sent to the scheduler line by line."""

    stop_grace: timedelta = option(duration, default=timedelta(seconds=10), maximum=timedelta(days=1))
    """How long running tasks may go on when the worker is told to stop; what is left is stopped and run elsewhere. A
    worker of its own ends after 30 s in any case."""

    api_key: str | None = option(text, default=None, secret=True)
    """API key or JWT that this worker shows to the scheduler."""

    tls_ca: Path | None = option(file_path, default=None, placeholder="FILE")
    """The authorities, in PEM, that the scheduler's certificate is checked against: TLS is spoken to it where this or
    --tls-cert is given."""

    tls_cert: Path | None = option(file_path, default=None, placeholder="FILE")
    """This worker's certificate, in PEM, for schedulers with --tls-client-ca. Their own is checked against the system's
    authorities without --tls-ca."""

    tls_key: Path | None = option(file_path, default=None, placeholder="FILE")
    """The key of this worker's certificate, in PEM."""

    def __post_init__(self) -> None:
        if self.capacity > CAPACITY_MAX:
            raise FieldError("prefetch", f"must keep concurrency and prefetch together within {CAPACITY_MAX}")
        if self.worker_id is not None and len(self.worker_id.encode()) > _ID_BYTES_MAX:
            raise FieldError("worker_id", f"must have at most {_ID_BYTES_MAX} bytes")
        check_pair(self.tls_cert, self.tls_key)

    @property
    def capacity(self) -> int:
        """How many leases the worker holds at once."""
        return self.concurrency + self.prefetch
