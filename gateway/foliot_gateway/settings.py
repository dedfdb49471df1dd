"""What can be set on a gateway."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from foliot.kit.settings import (
    FieldError,
    HostPort,
    boolean,
    byte_size,
    comma_list,
    duration,
    file_path,
    host_port,
    host_port_list,
    network_list,
    non_negative_int,
    option,
    positive_int,
    text,
    url,
)
from foliot.kit.tls import check_pair
from foliot_gateway.http.client_address import Network
from foliot_gateway.http.in_flight import REQUESTS_MAX
from foliot_gateway.http.limits.gcra import LIMIT_MAX
from foliot_gateway.http.mounting import DEFAULT_PLACES, Place

RATE_LIMIT = 600_000
"""Ten thousand a second: several times what one gateway serves, so that only several together, or a loop, come near."""


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
    """The Redis through which gateways share their rate limits; without one, and while it is away, each counts by itself."""

    rate_limit: int = option(non_negative_int, default=RATE_LIMIT, maximum=LIMIT_MAX, placeholder="N")
    """Requests a minute, all at once or spread, for each credential without a limit of its own, and for each address without a
    credential. The default is a guard against loops that run wild, not a quota; 0: no limit."""

    trusted_proxies: tuple[Network, ...] = option(network_list, default=(), placeholder="NETWORK[,NETWORK...]")
    """The proxies whose X-Forwarded-For header is believed, by address or network; without any, who connects is the client."""

    trusted_hosts: tuple[str, ...] = option(comma_list, default=(), placeholder="NAME[,NAME...]")
    """Host names that a gateway on the loopback is called by, besides `localhost` and addresses, through a proxy that passes them
    on. Others are refused where nobody has to say who they are, lest a web page reach it through its visitor's browser."""

    body_bytes_max: int = option(byte_size, default=4 * 1024 * 1024, minimum=1024, maximum=64 * 1024 * 1024)
    """The largest request body that is taken; a larger one gets 413. The documented APIs promise 4 MiB."""

    requests_max: int = option(positive_int, default=REQUESTS_MAX, maximum=100_000, placeholder="N")
    """How many requests are served at once; more get 503 with a delay to come back after. Some 50 KiB each."""

    body_timeout: timedelta = option(duration, default=timedelta(seconds=30), minimum=timedelta(seconds=1))
    """How long a request may take to send its body, so that slow senders do not pile up; then it gets 408."""

    request_timeout: timedelta = option(
        duration, default=timedelta(seconds=10), minimum=timedelta(milliseconds=100), maximum=timedelta(minutes=5)
    )
    """How long a request may wait for the scheduler, an election included; then it gets 503."""

    api_key: str | None = option(text, default=None, secret=True)
    """The API key or JWT of the gateway itself, of any role, by which it is counted in the system's status. Never used for
    requests: those are as good as the credentials that come with them."""

    scheduler_tls_ca: Path | None = option(file_path, default=None, placeholder="FILE")
    """The authorities, in PEM, that the schedulers' certificates are checked against: TLS is spoken to them where this or
    --scheduler-tls-cert is given."""

    scheduler_tls_cert: Path | None = option(file_path, default=None, placeholder="FILE")
    """The certificate, in PEM, that this gateway shows to schedulers with --tls-client-ca. Theirs are checked against the
    system's authorities without --scheduler-tls-ca."""

    scheduler_tls_key: Path | None = option(file_path, default=None, placeholder="FILE")
    """The key of that certificate, in PEM."""

    tls_cert: Path | None = option(file_path, default=None, placeholder="FILE")
    """The certificate that HTTP is served with, in PEM, those between it and its authority after it; on both listeners, which
    then take nothing in clear."""

    tls_key: Path | None = option(file_path, default=None, placeholder="FILE")
    """The key of the certificate, in PEM, not encrypted."""

    tls_client_ca: Path | None = option(file_path, default=None, placeholder="FILE")
    """Authorities, in PEM, one of which must have signed the certificate of each client (mTLS)."""

    queue_push: bool = option(boolean, default=True)
    """Whether the project's own workers take the jobs of the queue API too; if not, only executors that claim them do."""

    insecure: bool = option(boolean, default=False)
    """Listen on other addresses than the loopback although nobody has to say who they are. Without it, a gateway on such an
    address asks its scheduler at the start, and ends if that checks no credentials."""

    def __post_init__(self) -> None:
        """Refuse what does not go together: raises FieldError."""
        if self.http == self.chadburn_http and self.http.port != 0:
            raise FieldError("chadburn_http", "must be another address than that of --http")
        check_pair(self.tls_cert, self.tls_key, self.tls_client_ca)
        check_pair(self.scheduler_tls_cert, self.scheduler_tls_key, prefix="scheduler_tls")
