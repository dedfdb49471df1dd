"""What can be set on a gateway."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from foliot.kit.settings import (
    FieldError,
    HostPort,
    boolean,
    byte_size,
    comma_list,
    duration,
    host_port,
    host_port_list,
    option,
    url,
)
from foliot_gateway.http.mounting import DEFAULT_PLACES, Place


def place_list(given: Any) -> tuple[Place, ...]:
    """Read at least one `LISTENER:PREFIX=API`, such as `chadburn-http:/=chadburn`; raises ValueError."""
    found = tuple(Place.parse(one) for one in comma_list(given))
    if not found:
        raise ValueError("must hold at least one LISTENER:PREFIX=API")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """The settings of one gateway."""

    scheduler: tuple[HostPort, ...] = option(host_port_list, placeholder="H:P[,H:P...]")
    """Where schedulers listen; any number of replicas, of which any one will do."""

    http: HostPort = option(host_port, default=HostPort("127.0.0.1", 8080), placeholder="H:P")
    """Where the HTTP APIs and the web page listen."""

    chadburn_http: HostPort = option(host_port, default=HostPort("127.0.0.1", 8081), placeholder="H:P")
    """Where the Chadburn API listens at its documented path, which another API has at the address of --http."""

    mounts: tuple[Place, ...] = option(place_list, default=DEFAULT_PLACES, placeholder="LISTENER:PREFIX=API")
    """Which API is where: the listener is `http` or `chadburn-http`."""

    redis_url: str | None = option(url("redis", "rediss"), default=None, secret=True, placeholder="URL")
    """The Redis that gateways share counters and live events through; without one each keeps its own."""

    body_bytes_max: int = option(byte_size, default=4 * 1024 * 1024, minimum=1024, maximum=64 * 1024 * 1024)
    """The largest request body that is taken; a larger one gets 413. The documented APIs promise 4 MiB."""

    body_timeout: timedelta = option(duration, default=timedelta(seconds=30), minimum=timedelta(seconds=1))
    """How long a request may take to send its body, so that slow senders do not pile up; then it gets 408."""

    request_timeout: timedelta = option(
        duration, default=timedelta(seconds=10), minimum=timedelta(milliseconds=100), maximum=timedelta(minutes=5)
    )
    """How long a request may wait for the scheduler, an election included; then it gets 503."""

    insecure: bool = option(boolean, default=False)
    """Listen on other addresses than the loopback although nobody has to say who they are."""

    def __post_init__(self) -> None:
        """Refuse what does not go together: raises FieldError."""
        for field, address in (("http", self.http), ("chadburn_http", self.chadburn_http)):
            if not (self.insecure or address.is_loopback):
                raise FieldError(field, f"{address} is open to others without authentication; say --insecure to allow it")
        if self.http == self.chadburn_http and self.http.port != 0:
            raise FieldError("chadburn_http", "must be another address than that of --http")
