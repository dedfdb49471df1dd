"""One trace, from the HTTP request through gRPC and the lease to the environment of the command that it led to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.conformance.dag_jobs.test_executions import wait_ended

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from tests.conformance.dag_jobs.conftest import NewJob

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


def test_a_command_sees_the_trace_of_the_request(http: httpx.Client, new_job: NewJob, tmp_path: Path) -> None:
    written = tmp_path / "traceparent"
    job_id = new_job(tasks=[{"id": "a", "command": f"printenv TRACEPARENT > {written}"}])
    http.post(f"/jobs/{job_id}/trigger", headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})
    assert wait_ended(http, job_id)["status"] == "SUCCEEDED"
    version, trace, span, _flags = written.read_text().strip().split("-")
    assert (version, trace) == ("00", TRACE)
    assert span != SPAN, "the spans on the way are the trace's own"


def test_a_command_sees_a_trace_of_its_own_where_the_request_had_none(
    http: httpx.Client, new_job: NewJob, tmp_path: Path
) -> None:
    written = tmp_path / "traceparent"
    job_id = new_job(tasks=[{"id": "a", "command": f"printenv TRACEPARENT > {written}"}])
    http.post(f"/jobs/{job_id}/trigger")
    assert wait_ended(http, job_id)["status"] == "SUCCEEDED"
    assert len(written.read_text().strip()) == len(f"00-{TRACE}-{SPAN}-01")
