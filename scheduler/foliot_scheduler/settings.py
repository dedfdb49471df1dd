"""What can be set on a scheduler replica."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from foliot.kit.addresses import IpNetwork
from foliot.kit.settings import (
    FieldError,
    HostPort,
    boolean,
    choice,
    comma_list,
    duration,
    file_path,
    host_port,
    network_list,
    non_negative_int,
    option,
    positive_int,
    text,
    url,
)
from foliot.kit.tls import check_pair
from foliot_scheduler.database_url import database_url as postgres_url

BOOTSTRAP_KEY_CHARS_MIN: Final = 32
"""The shortest key of the first start: 32 hexadecimal digits hold 128 bits, which nobody tries through."""

LIVE_TASKS_MAX: Final = 50_000_000
"""The most live tasks that may be asked for: 30 GB of a leader's memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerSettings:
    """The settings of one replica."""

    database_url: str = option(postgres_url, secret=True, placeholder="URL")
    """The PostgreSQL that holds everything. Several hosts may be named, `//user@host1:5432,host2:5432/database`: whichever takes
    writes is used, and looked for again after a fail-over."""

    grpc: HostPort = option(host_port, placeholder="H:P")
    """Where the gRPC API listens."""

    advertise: HostPort | None = option(host_port, default=None, placeholder="H:P")
    """The address at which others reach this replica, if it is not the one it listens on."""

    replica: str = option(text, default="", placeholder="NAME")
    """This replica's name in logs and status; empty stands for scheduler-PORT."""

    redis_url: str | None = option(url("redis", "rediss"), default=None, secret=True, placeholder="URL")
    """Taken so that every component can be given the same Redis; a scheduler uses none."""

    executor_lease: timedelta = option(
        duration, default=timedelta(seconds=60), minimum=timedelta(milliseconds=100), maximum=timedelta(days=1)
    )
    """How long a task that an executor claimed outlives its heartbeat; then it goes back to those that wait."""

    misfire_threshold: timedelta = option(
        duration, default=timedelta(seconds=60), minimum=timedelta(seconds=1), maximum=timedelta(days=1)
    )
    """How late a schedule's run may start and still count as in time; a later one is left to the schedule's misfire policy."""

    live_tasks_max: int = option(positive_int, default=2_000_000, maximum=LIVE_TASKS_MAX, placeholder="N")
    """How many tasks may live (wait or run) at once. The leader holds them in memory, about 600 bytes each; more are refused."""

    project_live_tasks_max: int | None = option(positive_int, default=None, maximum=LIVE_TASKS_MAX, placeholder="N")
    """How many tasks of one project may live at once, so that one project does not fill the scheduler; three quarters of
    --live-tasks-max by default."""

    project_tasks_per_second: int = option(non_negative_int, default=0, maximum=1_000_000, placeholder="N")
    """How many tasks callers may ask for in one project and second, on average over a while; 0: no limit."""

    commit_latency_max: timedelta = option(
        duration, default=timedelta(seconds=2), minimum=timedelta(milliseconds=10), maximum=timedelta(minutes=1)
    )
    """How long a commit may take before new work is refused until commits are faster again. Results, cancels and reads go on. A
    leader whose commits take longer than the default confirms no heartbeats any more."""

    lost_attempts_max: int = option(non_negative_int, default=10, maximum=1_000, placeholder="N")
    """How often a task may be lost with its worker and be given to another; lost once more, it has most likely killed them, and
    ends failed."""

    history_retention: timedelta = option(
        duration, default=timedelta(days=30), minimum=timedelta(days=1), maximum=timedelta(days=3650)
    )
    """How long after their creation ended tasks and runs are kept, with attempts, logs and checkpoints, and how long after the
    fact decided due times, deleted jobs, replaced versions, workers that left, API keys that ended and audit records. Days go
    as a whole, so up to a day longer."""

    rollup_retention: timedelta = option(
        duration, default=timedelta(days=400), minimum=timedelta(days=1), maximum=timedelta(days=3650)
    )
    """How long it is known what ended in each minute; at least as long as the history."""

    deny_networks: tuple[IpNetwork, ...] = option(network_list, default=(), placeholder="RANGE[,...]")
    """Further address ranges that webhooks must not reach."""

    deny_private: bool = option(boolean, default=False)
    """Whether webhooks must not reach private and loopback addresses."""

    auth: str | None = option(choice("off", "required"), default=None, placeholder="off|required")
    """Whether callers have to say who they are. Required by default, unless only this machine can reach the gRPC port and
    no other option of credentials is given."""

    bootstrap_key: str | None = option(text, default=None, secret=True, placeholder="KEY")
    """An API key of the role admin for every project, to make the first keys with; at least 32 characters."""

    bootstrap_key_file: Path | None = option(file_path, default=None, placeholder="FILE")
    """A file that holds the bootstrap key, instead of the option."""

    jwt_secret_file: Path | None = option(file_path, default=None, placeholder="FILE")
    """A file with the secret, of at least 32 bytes, that tokens are signed with (HS256)."""

    jwt_jwks: str | None = option(text, default=None, placeholder="FILE|URL")
    """The public keys of whoever signs tokens (RS256, ES256), as a JSON Web Key Set: a file, or an https URL."""

    jwt_audience: tuple[str, ...] = option(comma_list, default=(), placeholder="TEXT[,...]")
    """The audiences of which a token must name one; without any, tokens that name one are refused."""

    jwt_issuer: str | None = option(text, default=None)
    """Who must have issued a token; anybody with the key by default."""

    worker_key: str | None = option(text, default=None, secret=True, placeholder="KEY")
    """An API key of the role worker for every project, for workers that are started together with the first scheduler and
    gateways to be counted by; at least 32 characters."""

    tls_cert: Path | None = option(file_path, default=None, placeholder="FILE")
    """The certificate that the gRPC API is served with, in PEM, those between it and its authority after it. With it
    nothing is taken in clear."""

    tls_key: Path | None = option(file_path, default=None, placeholder="FILE")
    """The key of the certificate, in PEM, not encrypted."""

    tls_client_ca: Path | None = option(file_path, default=None, placeholder="FILE")
    """Authorities, in PEM, one of which must have signed the certificate of each client (mTLS)."""

    tls_ca: Path | None = option(file_path, default=None, placeholder="FILE")
    """The authorities, in PEM, that the certificates of other replicas are checked against; the system's by default. To them
    this replica shows its own certificate."""

    insecure: bool = option(boolean, default=False)
    """Listen on other addresses than the loopback although nobody has to say who they are; turns authentication off by
    default."""

    def __post_init__(self) -> None:
        """Refuse what does not go together: raises FieldError."""
        if self.rollup_retention < self.history_retention:
            raise FieldError("rollup_retention", "must be at least as long as --history-retention")
        check_pair(self.tls_cert, self.tls_key, self.tls_client_ca, self.tls_ca)
        if not (self.auth_required or self.insecure or self.grpc.is_loopback or self.tls_client_ca is not None):
            raise FieldError("grpc", f"{self.grpc} is open to others without authentication; say --insecure to allow it")
        if self.bootstrap_key is not None and self.bootstrap_key_file is not None:
            raise FieldError("bootstrap_key_file", "must not be given together with --bootstrap-key")
        check_jwt(self.jwt_secret_file, self.jwt_jwks, insecure=self.insecure)
        if self.bootstrap_key is not None and len(self.bootstrap_key) < BOOTSTRAP_KEY_CHARS_MIN:
            raise FieldError("bootstrap_key", f"must have at least {BOOTSTRAP_KEY_CHARS_MIN} characters")
        if self.worker_key is not None and len(self.worker_key) < BOOTSTRAP_KEY_CHARS_MIN:
            raise FieldError("worker_key", f"must have at least {BOOTSTRAP_KEY_CHARS_MIN} characters")
        if self.worker_key is not None and self.worker_key == self.bootstrap_key:
            raise FieldError("worker_key", "must be another key than --bootstrap-key")

    @property
    def project_live_tasks(self) -> int:
        """How many tasks of one project may live at once."""
        if self.project_live_tasks_max is not None:
            return self.project_live_tasks_max
        return max(1, self.live_tasks_max * 3 // 4)

    @property
    def auth_required(self) -> bool:
        """Whether callers have to say who they are."""
        if self.auth is not None:
            return self.auth == "required"
        if any((self.bootstrap_key, self.bootstrap_key_file, self.worker_key, self.jwt_secret_file, self.jwt_jwks)):
            return True
        return not (self.grpc.is_loopback or self.insecure)


def check_jwt(secret_file: Path | None, jwks: str | None, *, insecure: bool) -> None:
    """Raise FieldError, naming `jwt_jwks`, unless the two ways to check tokens may be set like this."""
    if secret_file is not None and jwks is not None:
        # With both, a token's header would decide which is right.
        raise FieldError("jwt_jwks", "must not be given together with --jwt-secret-file")
    if jwks is not None and jwks.startswith("http://") and not (_is_local(jwks) or insecure):
        raise FieldError("jwt_jwks", "must be an https URL: whoever can change the answer on its way can sign tokens")


def _is_local(url: str) -> bool:
    return HostPort(urlsplit(url).hostname or "", 0).is_loopback
