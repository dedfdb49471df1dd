"""What can be set on the commands that are no component of their own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from foliot.kit.settings import (
    FieldError,
    HostPort,
    boolean,
    choice,
    comma_list,
    duration,
    file_path,
    host_port,
    host_port_list,
    non_negative_int,
    option,
    positive_int,
    text,
    url,
)
from foliot.kit.tls import check_pair
from foliot_gateway.http.limits.gcra import LIMIT_MAX
from foliot_gateway.settings import RATE_LIMIT
from foliot_scheduler.database_url import database_url as postgres_url
from foliot_scheduler.settings import check_jwt

DATA_DIR = Path("foliot-data")
PORT_MAX = 65_535

EXPIRES_MAX = timedelta(days=36_525)
"""The longest life of a key: a century, within what calendars can say."""


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

    database_url: str | None = option(postgres_url, default=None, secret=True, placeholder="URL")
    """A PostgreSQL to use instead of the embedded one; several hosts may be named, of which one takes writes."""

    redis_url: str | None = option(url("redis", "rediss"), default=None, secret=True, placeholder="URL")
    """A Redis to use; without one the same is done inside of the processes."""

    rate_limit: int = option(non_negative_int, default=RATE_LIMIT, maximum=LIMIT_MAX, placeholder="N")
    """Requests a minute for each credential without a limit of its own, or each address without a credential; 0: no limit."""

    auth: str | None = option(choice("off", "required"), default=None, placeholder="off|required")
    """Whether callers have to say who they are. Required by default, unless only this machine can reach all of the
    addresses and no option of tokens is given. The key to begin with is then in the file admin-key of the data directory."""

    jwt_secret_file: Path | None = option(file_path, default=None, placeholder="FILE")
    """A file with the secret, of at least 32 bytes, that tokens are signed with (HS256)."""

    jwt_jwks: str | None = option(text, default=None, placeholder="FILE|URL")
    """The public keys of whoever signs tokens (RS256, ES256), as a JSON Web Key Set: a file, or an https URL."""

    jwt_audience: tuple[str, ...] = option(comma_list, default=(), placeholder="TEXT[,...]")
    """The audiences of which a token must name one; without any, tokens that name one are refused."""

    jwt_issuer: str | None = option(text, default=None)
    """Who must have issued a token; anybody with the key by default."""

    executor_lease: timedelta = option(
        duration, default=timedelta(seconds=60), minimum=timedelta(milliseconds=100), maximum=timedelta(days=1)
    )
    """How long a task that an executor claimed outlives its heartbeat; then it goes back to those that wait."""

    queue_push: bool = option(boolean, default=True)
    """Whether the workers take the jobs of the queue API too; if not, only executors that claim them do."""

    insecure: bool = option(boolean, default=False)
    """Listen on other addresses than the loopback although nobody has to say who they are; turns authentication off by
    default."""

    def __post_init__(self) -> None:
        """Refuse what does not go together: raises FieldError."""
        check_jwt(self.jwt_secret_file, self.jwt_jwks, insecure=self.insecure)
        if self.http == self.chadburn_http and self.http.port != 0:
            raise FieldError("chadburn_http", "must be another address than that of --http")
        if self.auth_required or self.insecure:
            return
        for field, address in self._listening():
            if not address.is_loopback:
                raise FieldError(field, f"{address} is open to others without authentication; say --insecure to allow it")

    @property
    def auth_required(self) -> bool:
        """Whether callers have to say who they are."""
        if self.auth is not None:
            return self.auth == "required"
        if self.jwt_secret_file is not None or self.jwt_jwks is not None:
            return True
        return not self.insecure and any(not address.is_loopback for _, address in self._listening())

    def _listening(self) -> tuple[tuple[str, HostPort], ...]:
        return ("http", self.http), ("chadburn_http", self.chadburn_http), ("grpc", self.grpc)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """The settings of `foliot database`."""

    data_dir: Path = option(file_path, placeholder="DIR")
    """Where the embedded PostgreSQL is kept."""

    port: int | None = option(positive_int, default=None, maximum=PORT_MAX, placeholder="P")
    """The TCP port to listen on at 127.0.0.1; without one only a socket in the directory serves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysSettings:
    """The settings of `foliot keys list`, and of all commands that admins ask something with."""

    scheduler: tuple[HostPort, ...] = option(host_port_list, default=(HostPort("127.0.0.1", 7070),), placeholder="H:P[,H:P...]")
    """Where schedulers listen."""

    api_key: str | None = option(text, default=None, secret=True)
    """The API key or JWT of an admin. A variable is a better place for it than a command line, which others can read."""

    tls_ca: Path | None = option(file_path, default=None, placeholder="FILE")
    """The authorities, in PEM, that the scheduler's certificate is checked against: TLS is spoken to it where this or
    --tls-cert is given."""

    tls_cert: Path | None = option(file_path, default=None, placeholder="FILE")
    """The certificate, in PEM, to show to a scheduler with --tls-client-ca."""

    tls_key: Path | None = option(file_path, default=None, placeholder="FILE")
    """The key of that certificate, in PEM."""

    json: bool = option(boolean, default=False)
    """Print JSON."""

    def __post_init__(self) -> None:
        """Refuse what does not go together: raises FieldError."""
        check_pair(self.tls_cert, self.tls_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings(KeysSettings):
    """The settings of `foliot audit`."""

    limit: int = option(positive_int, default=100, maximum=100_000, placeholder="N")
    """How many records to show, the latest ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateKeySettings(KeysSettings):
    """The settings of `foliot keys create`."""

    name: str = option(text)
    """What people call the key."""

    role: str = option(choice("viewer", "operator", "admin", "worker"), placeholder="viewer|operator|admin|worker")
    """What it may do."""

    project: str | None = option(text, default=None)
    """The project it reaches, or * for every one; the caller's own by default."""

    expires: timedelta | None = option(
        duration, default=None, minimum=timedelta(seconds=1), maximum=EXPIRES_MAX, placeholder="DURATION"
    )
    """How long it works, such as 90d; for ever by default."""

    requests_per_minute: int = option(non_negative_int, default=0, maximum=100_000_000, placeholder="N")
    """Its rate limit at the gateways; 0: theirs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeKeySettings(KeysSettings):
    """The settings of `foliot keys revoke`."""

    api_key_id: str = option(text, placeholder="ID")
    """The id of the key to end, as `foliot keys list` shows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSettings:
    """The settings of `foliot demo`."""

    files: int = option(positive_int, default=24, maximum=500, placeholder="N")
    """How many text files of this Python environment the pipeline counts words in."""

    keep: Path | None = option(file_path, default=None, placeholder="DIR")
    """Keep the data directory here instead of in a temporary place that is removed."""
