"""The JSON of `schedules`: what it takes and what it gives. Times are milliseconds since the epoch."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from foliot_gateway.apis.schedules.examples import CURSOR, RUN_ID, SCHEDULE_ID
from foliot_gateway.apis.schedules.identifiers import PROJECT_PATTERN

TARGET_TIMEOUT_DEFAULT_MS = 30_000
PAGE_DEFAULT = 50
PAGE_MAX = 100

ScheduleId = Annotated[
    str,
    Meta(
        description="The schedule's id: `sch_`, a UUID, and the project after a dot where it is not the default one.",
        examples=[SCHEDULE_ID],
    ),
]
RunId = Annotated[str, Meta(description="The run's id, made like the schedule's: `run_`.", examples=[RUN_ID])]
ProjectId = Annotated[
    str,
    Meta(
        pattern=PROJECT_PATTERN,
        min_length=1,
        max_length=100,
        examples=["p_1"],
        extra={"rule": "must be letters, digits and any of . _ ~ @ -"},
    ),
]
Name = Annotated[str, Meta(description="Shown to people, at most 255 bytes.", min_length=1, max_length=255)]
Cron = Annotated[
    str,
    Meta(
        description="Five fields, six with seconds first, `@hourly` and its like, or `@every 90s`.",
        min_length=1,
        max_length=1_024,
        examples=["0 9 * * *"],
    ),
]
Zone = Annotated[
    str,
    Meta(description="The IANA zone that `cron` is read in.", min_length=1, max_length=255, examples=["Europe/Belgrade"]),
]
ConcurrencyPolicy = Annotated[
    Literal["allow", "forbid", "replace", "queue"],
    Meta(
        description="What happens when a run is due while another goes on. `allow`: they run side by side. `forbid`: the due one "
        "is skipped. `replace`: the one that goes on is cancelled. `queue` (an extension): the due one waits, up to 100 of them."
    ),
]
MisfirePolicy = Annotated[
    Literal["skip", "fire_once", "fire_all"],
    Meta(
        description="What happens to due times that passed by more than 60 s while nothing could fire. `skip`: none fires. "
        "`fire_once`: the latest fires. `fire_all`: each fires, the latest 100 at most. The others are recorded as skipped."
    ),
]
JitterMs = Annotated[
    int, Meta(description="Delays each fire by a time that the schedule and its due time fix, up to this.", ge=0, le=3_600_000)
]
Url = Annotated[str, Meta(description="Absolute, http or https, at most 8 KiB.", min_length=1, max_length=8_192)]
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
Headers = Annotated[
    dict[str, str],
    Meta(
        description="Sent as given: at most 100, 32 KiB in all. A value `secret://name` is resolved by the worker at send time; "
        "one that carries a credential is shown as `******`, which keeps the stored value when it is sent back.",
        max_length=100,
    ),
]
JsonBody = Annotated[msgspec.Raw, Meta(extra_json_schema={})]
BODY_TEXT = (
    "A string is sent as it is; any other JSON value is sent as JSON, with the content type `application/json` unless `headers` "
    "names one. At most 1 MiB."
)
TimeoutMs = Annotated[int, Meta(description="Bounds each request, at most an hour.", ge=1, le=3_600_000)]
Attempts = Annotated[int, Meta(description="How many attempts there are at most, the first included.", ge=1, le=100)]
BackoffMs = Annotated[
    int,
    Meta(
        description="The longest wait after the first failed attempt, doubled with each; a wait is drawn at random below it.",
        ge=0,
        le=86_400_000,
    ),
]
MaxBackoffMs = Annotated[int, Meta(description="Caps the wait.", ge=0, le=604_800_000)]
Version = Annotated[int, Meta(description="Grows by one with each change, from 1.", ge=1, le=2**63 - 1)]
ScheduleStatus = Annotated[
    Literal["enabled", "disabled", "deleted"],
    Meta(description="A deleted schedule stays readable with its runs, fires no more and is left out of lists."),
]
RunStatus = Literal["queued", "running", "succeeded", "failed", "cancelled"]
ListedStatus = Literal["queued", "running", "succeeded", "failed", "cancelled", "skipped"]
AttemptStatus = Literal["running", "succeeded", "failed", "timed_out", "cancelled", "lost"]
Trigger = Annotated[Literal["schedule", "manual", "redrive"], Meta(description="What started it.")]
Millis = Annotated[int, Meta(description="Milliseconds since the epoch.")]


class Shape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all have in common."""


class Auth(Shape, frozen=True, kw_only=True):
    """How a target learns who calls: `service_token` sends the secret's value as `Authorization: Bearer`."""

    type: Literal["service_token"]
    ref: Annotated[
        str,
        Meta(
            description="The secret's name, which the worker resolves at send time; its value is never stored or shown.",
            pattern="^secret://[A-Za-z0-9][A-Za-z0-9._-]{0,127}$",
            extra={"rule": "must be secret:// and a name of at most 128 letters, digits, dots, underscores and dashes"},
            examples=["secret://invoice-token"],
        ),
    ]


class NewTarget(Shape, frozen=True, kw_only=True):
    """What a schedule calls: any status from 200 to 299 is success; 429, 5xx and a timeout are worth another attempt."""

    type: Literal["http"]
    url: Url
    method: Method = "POST"
    headers: Headers = {}
    body: Annotated[JsonBody | UnsetType, Meta(description=BODY_TEXT)] = UNSET
    timeout_ms: TimeoutMs = TARGET_TIMEOUT_DEFAULT_MS
    auth: Auth | None = None


class TargetChange(Shape, frozen=True, kw_only=True):
    """A change of a target: what is absent stays; `headers` and `body` are replaced as a whole, a null `body` is none."""

    type: Literal["http"] | UnsetType = UNSET
    url: Url | UnsetType = UNSET
    method: Method | UnsetType = UNSET
    headers: Headers | UnsetType = UNSET
    body: Annotated[JsonBody | UnsetType, Meta(description=BODY_TEXT)] = UNSET
    timeout_ms: TimeoutMs | UnsetType = UNSET
    auth: Annotated[Auth | UnsetType | None, Meta(description="Null removes it.")] = UNSET


class Target(Shape, frozen=True, kw_only=True):
    """What a schedule calls."""

    type: Literal["http"]
    url: str
    method: Method
    headers: Headers
    body: Annotated[JsonBody, Meta(description="As it was given; null where there is none.")]
    timeout_ms: int
    auth: Auth | None


class NewRetry(Shape, frozen=True, kw_only=True):
    """Which attempts follow a failed one, and when."""

    max_attempts: Attempts
    backoff_ms: BackoffMs = 1_000
    max_backoff_ms: MaxBackoffMs = 60_000


class RetryChange(Shape, frozen=True, kw_only=True):
    """A change of the retries: what is absent stays."""

    max_attempts: Attempts | UnsetType = UNSET
    backoff_ms: BackoffMs | UnsetType = UNSET
    max_backoff_ms: MaxBackoffMs | UnsetType = UNSET


class Retry(Shape, frozen=True, kw_only=True):
    """Which attempts follow a failed one, and when."""

    max_attempts: Attempts
    backoff_ms: int
    max_backoff_ms: int


class NewSchedule(Shape, frozen=True, kw_only=True):
    """A schedule to create."""

    project_id: Annotated[
        ProjectId | None,
        Meta(
            description="Whose it is. With credentials their own project, which it is too where none is named; without "
            "authentication any, and `default` where none is named."
        ),
    ] = None
    name: Name
    cron: Cron
    timezone: Zone = "UTC"
    enabled: bool = True
    concurrency_policy: ConcurrencyPolicy = "allow"
    misfire_policy: MisfirePolicy = "fire_once"
    max_jitter_ms: JitterMs = 0
    target: NewTarget
    retry: Annotated[NewRetry | None, Meta(description="One attempt where none is given.")] = None


class ScheduleChange(Shape, frozen=True, kw_only=True):
    """A change of a schedule: what is absent stays."""

    version: Annotated[Version, Meta(description="Must be the current version: 409 otherwise.")]
    name: Name | UnsetType = UNSET
    cron: Cron | UnsetType = UNSET
    timezone: Zone | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    concurrency_policy: ConcurrencyPolicy | UnsetType = UNSET
    misfire_policy: MisfirePolicy | UnsetType = UNSET
    max_jitter_ms: JitterMs | UnsetType = UNSET
    target: TargetChange | UnsetType = UNSET
    retry: RetryChange | UnsetType = UNSET


class ScheduleState(Shape, frozen=True, kw_only=True):
    """Where a schedule stands."""

    schedule_id: ScheduleId
    status: ScheduleStatus
    next_run_at_ms: Annotated[
        Millis | None, Meta(description="When it fires next; null while disabled, and where no time is left.")
    ]
    version: Version


class Schedule(ScheduleState, frozen=True, kw_only=True):
    """A schedule as it stands."""

    project_id: str
    name: str
    cron: str
    timezone: str
    enabled: bool
    concurrency_policy: ConcurrencyPolicy
    misfire_policy: MisfirePolicy
    max_jitter_ms: int
    target: Target
    retry: Retry
    created_at_ms: Millis
    updated_at_ms: Millis


class SchedulePage(Shape, frozen=True, kw_only=True):
    """A page of schedules."""

    items: list[Schedule]
    next_cursor: Annotated[str | None, Meta(description="The `cursor` of the next page; null on the last one.")]


class Queued(Shape, frozen=True, kw_only=True):
    """What was started."""

    run_id: RunId
    status: Literal["queued"]


class Run(Shape, frozen=True, kw_only=True):
    """A run, or a due time that was skipped."""

    run_id: Annotated[RunId | None, Meta(description="Null for a due time that was skipped.")]
    schedule_id: ScheduleId
    due_at_ms: Annotated[Millis, Meta(description="When it was due; of a run that was asked for, when that was.")]
    started_at_ms: Annotated[Millis | None, Meta(description="When its first attempt started.")]
    finished_at_ms: Annotated[Millis | None, Meta(description="When it ended.")]
    status: ListedStatus
    attempt: Annotated[int, Meta(description="The number of the latest attempt; 0 before the first.", ge=0)]
    trigger: Trigger
    last_error: Annotated[str | None, Meta(description="Why the latest ended attempt failed; null if it did not.")]
    redrive_of: Annotated[RunId | None, Meta(description="The dead letter that this is another try of.")]
    redriven_by: Annotated[RunId | None, Meta(description="The run that took this one out of the dead letters.")]
    skip_reason: Annotated[str | UnsetType, Meta(description="Why a due time was skipped; of skipped ones only.")] = UNSET


class Attempt(Shape, frozen=True, kw_only=True):
    """One try at calling the target."""

    attempt: Annotated[int, Meta(ge=1)]
    status: AttemptStatus
    started_at_ms: Millis | None
    finished_at_ms: Millis | None
    error: str | None


class RunDetails(Run, frozen=True, kw_only=True):
    """A run with its attempts."""

    attempts: Annotated[list[Attempt], Meta(description="Oldest first.")]


class RunPage(Shape, frozen=True, kw_only=True):
    """A page of runs."""

    items: list[Run]
    next_cursor: Annotated[str | None, Meta(description="The `cursor` of the next page; null on the last one.")]


Limit = Annotated[int, Meta(description="How many at most.", ge=1, le=PAGE_MAX)]
Cursor = Annotated[str, Meta(min_length=1, max_length=4_096, examples=[CURSOR])]


class ListQuery(Shape, frozen=True, kw_only=True):
    """The parameters of lists of a project's things."""

    project_id: Annotated[
        ProjectId | UnsetType,
        Meta(description="Whose. With credentials their own project; without authentication any, `default` where none is named."),
    ] = UNSET
    limit: Limit = PAGE_DEFAULT
    cursor: Annotated[Cursor | UnsetType, Meta(description="The `next_cursor` of the page before.")] = UNSET


class RunListQuery(Shape, frozen=True, kw_only=True):
    """The parameters of a schedule's run history."""

    limit: Limit = PAGE_DEFAULT
    cursor: Annotated[Cursor | UnsetType, Meta(description="The `next_cursor` of the page before, with the same `status`.")] = (
        UNSET
    )
    status: Annotated[
        ListedStatus | UnsetType,
        Meta(description="Keeps runs of this status; `skipped` lists the due times that started no run, with the reason."),
    ] = UNSET
