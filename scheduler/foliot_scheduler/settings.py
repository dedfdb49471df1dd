"""What can be set on a scheduler replica."""

from __future__ import annotations

from dataclasses import dataclass

from foliot.kit.settings import FieldError, HostPort, boolean, host_port, option, text, url


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerSettings:
    """The settings of one replica."""

    database_url: str = option(url("postgresql", "postgres"), secret=True, placeholder="URL")
    """The PostgreSQL that holds everything; several hosts may be named."""

    grpc: HostPort = option(host_port, placeholder="H:P")
    """Where the gRPC API listens."""

    advertise: HostPort | None = option(host_port, default=None, placeholder="H:P")
    """The address at which others reach this replica, if it is not the one it listens on."""

    replica: str = option(text, default="", placeholder="NAME")
    """This replica's name in logs and status; empty stands for scheduler-PORT."""

    redis_url: str | None = option(url("redis", "rediss"), default=None, secret=True, placeholder="URL")
    """The Redis that carries live events; without one followers read PostgreSQL instead."""

    insecure: bool = option(boolean, default=False)
    """Listen on other addresses than the loopback although nobody has to say who they are."""

    def __post_init__(self) -> None:
        """Refuse what does not go together: raises FieldError."""
        if not (self.insecure or self.grpc.is_loopback):
            raise FieldError("grpc", f"{self.grpc} is open to others without authentication; say --insecure to allow it")
