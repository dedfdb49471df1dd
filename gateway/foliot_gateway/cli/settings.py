"""What can be set on the commands that are no component of their own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from foliot.kit.settings import (
    FieldError,
    HostPort,
    boolean,
    file_path,
    host_port,
    non_negative_int,
    option,
    positive_int,
    url,
)

DATA_DIR = Path("foliot-data")
PORT_MAX = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class UpSettings:
    """The settings of `foliot up`."""

    data_dir: Path = option(file_path, default=DATA_DIR, placeholder="DIR")
    """Where the embedded PostgreSQL, downloads and worker files are kept."""

    http: HostPort = option(host_port, default=HostPort("127.0.0.1", 8080), placeholder="H:P")
    """Where the HTTP APIs and the web page listen."""

    chadburn_http: HostPort = option(host_port, default=HostPort("127.0.0.1", 8081), placeholder="H:P")
    """Where the Chadburn API listens at its documented path."""

    grpc: HostPort = option(host_port, default=HostPort("127.0.0.1", 7070), placeholder="H:P")
    """Where the gRPC API listens."""

    workers: int = option(non_negative_int, default=1, maximum=64, placeholder="N")
    """How many workers to start; 0: none."""

    concurrency: int = option(positive_int, default=16, maximum=10_000, placeholder="N")
    """How many tasks each worker runs at once."""

    app: str = option(str, default="", placeholder="MODULE:WORKER")
    """The worker program whose functions the workers offer; empty: none."""

    database_url: str | None = option(url("postgresql", "postgres"), default=None, secret=True, placeholder="URL")
    """A PostgreSQL to use instead of the embedded one."""

    redis_url: str | None = option(url("redis", "rediss"), default=None, secret=True, placeholder="URL")
    """A Redis to use; without one the same is done inside of the processes."""

    insecure: bool = option(boolean, default=False)
    """Listen on other addresses than the loopback although nobody has to say who they are."""

    def __post_init__(self) -> None:
        """Refuse what does not go together: raises FieldError."""
        for field, address in (("http", self.http), ("chadburn_http", self.chadburn_http), ("grpc", self.grpc)):
            if not (self.insecure or address.is_loopback):
                raise FieldError(field, f"{address} is open to others without authentication; say --insecure to allow it")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """The settings of `foliot database`."""

    data_dir: Path = option(file_path, placeholder="DIR")
    """Where the embedded PostgreSQL is kept."""

    port: int | None = option(positive_int, default=None, maximum=PORT_MAX, placeholder="P")
    """The TCP port to listen on at 127.0.0.1; without one only a socket in the directory serves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSettings:
    """The settings of `foliot demo`."""

    files: int = option(positive_int, default=24, maximum=500, placeholder="N")
    """How many text files of this Python environment the pipeline counts words in."""

    keep: Path | None = option(file_path, default=None, placeholder="DIR")
    """Keep the data directory here instead of in a temporary place that is removed."""
