"""The declaration of `schedules`: its operations, from which both its routes and its part of the OpenAPI document are made."""

from __future__ import annotations

from foliot_gateway.apis.schedules import examples, handlers, shapes
from foliot_gateway.apis.schedules.fields import RULE_STATUS, translate_error
from foliot_gateway.http.operation import Api, NoBody, NoQuery, Operation, PathParameter, ReplyDoc
from foliot_gateway.http.problem import ProblemShape

_UNKNOWN_SCHEDULE = {404: "No schedule has this id: a job that is not a schedule with exactly one HTTP request is none."}
_UNKNOWN_RUN = {404: "No run of a schedule has this id."}
_BROKEN_RULE = {422: "The body breaks a rule: `errors` names the fields."}
_OTHER_PROJECT = {403: "The project is not that of the credentials."}
_SCHEDULES, _RUNS, _DEAD_LETTERS = "Schedules", "Runs of schedules", "Dead letters"

_CREATE_SCHEDULE = Operation(
    method="POST",
    path="/v1/schedules",
    name="createSchedule",
    tag=_SCHEDULES,
    summary="Create a schedule",
    handler=handlers.create_schedule,
    query=NoQuery,
    body=shapes.NewSchedule,
    body_example=examples.NEW_SCHEDULE,
    replies=(
        ReplyDoc(
            status=201,
            description="The schedule was created.",
            body=shapes.ScheduleState,
            example=examples.STATUS,
            headers={"Location": "Where the schedule is."},
        ),
    ),
    refusals={**_BROKEN_RULE, **_OTHER_PROJECT},
    idempotent=True,
)
_LIST_SCHEDULES = Operation(
    method="GET",
    path="/v1/schedules",
    name="listSchedules",
    tag=_SCHEDULES,
    summary="List schedules",
    description="Newest first, without those deleted. What was made through other APIs is listed too, if it is a schedule with "
    "exactly one HTTP request.",
    handler=handlers.list_schedules,
    query=shapes.ListQuery,
    body=NoBody,
    replies=(
        ReplyDoc(
            status=200,
            description="A page of schedules.",
            body=shapes.SchedulePage,
            example={"items": [examples.SCHEDULE], "next_cursor": examples.CURSOR},
        ),
    ),
    refusals={**_OTHER_PROJECT, 400: "The cursor is not from an answer to the same list."},
)
_GET_SCHEDULE = Operation(
    method="GET",
    path="/v1/schedules/{schedule_id}",
    name="getSchedule",
    tag=_SCHEDULES,
    summary="Get schedule details and the next run time",
    description="A deleted schedule is answered too, with the status `deleted`.",
    handler=handlers.get_schedule,
    query=NoQuery,
    body=NoBody,
    replies=(ReplyDoc(status=200, description="The schedule.", body=shapes.Schedule, example=examples.SCHEDULE),),
    refusals=_UNKNOWN_SCHEDULE,
)
_CHANGE_SCHEDULE = Operation(
    method="PATCH",
    path="/v1/schedules/{schedule_id}",
    name="changeSchedule",
    tag=_SCHEDULES,
    summary="Update cron, target, retry or policies",
    description="Only what is given changes, all of it or nothing; inside `target` and `retry` too. Runs that go on keep the "
    "schedule as it was.",
    handler=handlers.change_schedule,
    query=NoQuery,
    body=shapes.ScheduleChange,
    body_example=examples.CHANGE,
    replies=(ReplyDoc(status=200, description="The schedule was changed.", body=shapes.Schedule, example=examples.CHANGED),),
    refusals={
        **_UNKNOWN_SCHEDULE,
        **_BROKEN_RULE,
        409: "The schedule has another `version`, which the answer names, or it was deleted (`state`).",
    },
)
_DELETE_SCHEDULE = Operation(
    method="DELETE",
    path="/v1/schedules/{schedule_id}",
    name="deleteSchedule",
    tag=_SCHEDULES,
    summary="Delete a schedule",
    description="Softly: it fires no more and is left out of lists, and stays readable with its runs. Runs that go on come to "
    "their end. To delete it again changes nothing.",
    handler=handlers.delete_schedule,
    query=NoQuery,
    body=NoBody,
    replies=(ReplyDoc(status=200, description="The schedule is deleted.", body=shapes.ScheduleState, example=examples.DELETED),),
    refusals=_UNKNOWN_SCHEDULE,
)
_RUN_NOW = Operation(
    method="POST",
    path="/v1/schedules/{schedule_id}:runNow",
    name="runNow",
    tag=_SCHEDULES,
    summary="Trigger an immediate run",
    description="With the same target and policies: while another run goes on, `forbid` and `queue` refuse it (409), `replace` "
    "cancels the other. A disabled schedule runs too.",
    handler=handlers.run_now,
    query=NoQuery,
    body=NoBody,
    replies=(
        ReplyDoc(
            status=202,
            description="The run was accepted.",
            body=shapes.Queued,
            example={"run_id": examples.RUN_ID, "status": "queued"},
        ),
    ),
    refusals={**_UNKNOWN_SCHEDULE, 409: "Another run goes on, or the schedule was deleted (`state`)."},
    idempotent=True,
)
_LIST_RUNS = Operation(
    method="GET",
    path="/v1/schedules/{schedule_id}/runs",
    name="listRuns",
    tag=_RUNS,
    summary="Get the run history of a schedule",
    description="Newest first. Each due time of a schedule gives exactly one run or is skipped for a reason: "
    "`status=skipped` lists the skipped ones.",
    handler=handlers.list_runs,
    query=shapes.RunListQuery,
    body=NoBody,
    replies=(
        ReplyDoc(
            status=200,
            description="A page of runs.",
            body=shapes.RunPage,
            example={"items": [examples.RUN], "next_cursor": None},
        ),
    ),
    refusals={**_UNKNOWN_SCHEDULE, 400: "The cursor is not from an answer to the same list."},
)
_GET_RUN = Operation(
    method="GET",
    path="/v1/runs/{run_id}",
    name="getRun",
    tag=_RUNS,
    summary="Get a run's status, attempts and last error",
    handler=handlers.get_run,
    query=NoQuery,
    body=NoBody,
    replies=(ReplyDoc(status=200, description="The run.", body=shapes.RunDetails, example=examples.RUN_DETAILS),),
    refusals=_UNKNOWN_RUN,
)
_LIST_DEAD_LETTERS = Operation(
    method="GET",
    path="/v1/dlq",
    name="listDeadLetters",
    tag=_DEAD_LETTERS,
    summary="List failed runs that exhausted their retries",
    description="Newest first, without those that were redriven.",
    handler=handlers.list_dead_letters,
    query=shapes.ListQuery,
    body=NoBody,
    replies=(
        ReplyDoc(
            status=200,
            description="A page of dead letters.",
            body=shapes.RunPage,
            example={"items": [examples.DEAD_LETTER], "next_cursor": None},
        ),
    ),
    refusals={**_OTHER_PROJECT, 400: "The cursor is not from an answer to the same list."},
)
_REDRIVE_RUN = Operation(
    method="POST",
    path="/v1/dlq/{run_id}:redrive",
    name="redriveRun",
    tag=_DEAD_LETTERS,
    summary="Retry a dead letter",
    description="Starts a new run of the schedule as it stands now, and takes the old one out of the dead letters.",
    handler=handlers.redrive_run,
    query=NoQuery,
    body=NoBody,
    replies=(
        ReplyDoc(
            status=202,
            description="The new run was accepted.",
            body=shapes.Queued,
            example={"run_id": examples.NEXT_RUN_ID, "status": "queued"},
        ),
    ),
    refusals={
        **_UNKNOWN_RUN,
        409: "The run is not among the dead letters: it did not fail, or was redriven; or its schedule was deleted.",
    },
    idempotent=True,
)

SCHEDULES = Api(
    name="schedules",
    title="Schedules",
    description="Schedules that call HTTP targets, their runs, dead letters and redrive.",
    claims=("/v1",),
    operations=(
        _CREATE_SCHEDULE,
        _LIST_SCHEDULES,
        _GET_SCHEDULE,
        _CHANGE_SCHEDULE,
        _DELETE_SCHEDULE,
        _RUN_NOW,
        _LIST_RUNS,
        _GET_RUN,
        _LIST_DEAD_LETTERS,
        _REDRIVE_RUN,
    ),
    parameters={
        "schedule_id": PathParameter(description="The schedule's id.", example=examples.SCHEDULE_ID),
        "run_id": PathParameter(description="The run's id.", example=examples.RUN_ID),
    },
    errors=ProblemShape(),
    translate=translate_error,
    rule_status=RULE_STATUS,
)
