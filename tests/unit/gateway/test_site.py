from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foliot.kit.settings import FieldError, HostPort
from foliot_gateway.apis import APIS
from foliot_gateway.apis.dag_jobs import DAG_JOBS
from foliot_gateway.http.fault import FaultError
from foliot_gateway.http.mounting import DEFAULT_PLACES, Place, documented, mounts_at, sites
from foliot_gateway.http.operation import Api
from foliot_gateway.http.site import Mount, Site, escape_segment, route_template, unescape_segment
from foliot_gateway.http.system import HEALTH, SYSTEM
from foliot_gateway.settings import GatewaySettings

SITE = Site(mounts=(Mount(prefix="", api=SYSTEM), Mount(prefix="", api=DAG_JOBS), Mount(prefix="/other", api=DAG_JOBS)))


def verbs_api() -> Api:
    """An API with a path that ends in a verb, as `schedules` has them."""
    operation = replace(DAG_JOBS.operations[0], path="/v1/schedules/{id}:runNow")
    return replace(DAG_JOBS, name="verbs", claims=("/v1",), operations=(operation,))


@given(st.text())
def test_segments_come_back(segment: str) -> None:
    assert "/" not in escape_segment(segment)
    assert unescape_segment(escape_segment(segment)) == segment


@pytest.mark.parametrize(
    ("path", "api"),
    [
        ("/jobs", DAG_JOBS),
        ("/jobs/", DAG_JOBS),
        ("/jobs/x/nothing", DAG_JOBS),
        ("/other/jobs", DAG_JOBS),
        ("/jobsy", SYSTEM),
        ("/", SYSTEM),
        ("/other", SYSTEM),
        ("/api/v1/health", SYSTEM),
    ],
)
def test_unknown_paths_belong_to_who_claims_them(path: str, api: Api) -> None:
    assert SITE.api_at(path) is api


@pytest.mark.parametrize("raw", [b"/jobs/%ff", b"/jobs/%00", b"/jobs/%0a", b"/jobs/%E2%80%A8"])
def test_paths_that_name_nothing_are_404(raw: bytes) -> None:
    with pytest.raises(FaultError) as raised:
        SITE.route_path(raw)
    assert raised.value.fault.status == 404


def test_a_slash_inside_of_a_segment_stays_there() -> None:
    assert SITE.route_path(b"/jobs/a%2Fb/tasks/100%25") == "/jobs/a%2Fb/tasks/100%25"


def test_verbs_are_segments_only_where_their_api_is() -> None:
    mount = Mount(prefix="", api=verbs_api())
    site = Site(mounts=(Mount(prefix="", api=DAG_JOBS), mount))
    assert site.route_path(b"/v1/schedules/sch_1:runNow") == "/v1/schedules/sch_1/:runNow"
    assert site.route_path(b"/jobs/sch_1:runNow") == "/jobs/sch_1:runNow"
    assert route_template(mount, "/v1/schedules/{id}:runNow") == "/v1/schedules/{id}/:runNow"


def test_allow_names_every_method_of_a_path() -> None:
    assert SITE.allow("/jobs") == "GET, HEAD, OPTIONS, POST"
    assert SITE.allow("/jobs/x/") == "DELETE, GET, HEAD, OPTIONS, PUT"
    assert SITE.allow("/other/jobs/x/trigger") == "OPTIONS, POST"
    assert SITE.allow("/nothing") == ""


def test_places_are_read_as_they_are_written() -> None:
    for text in ("http:/=dag_jobs", "http:/chadburn=chadburn", "chadburn-http:/a/b=queue"):
        assert str(Place.parse(text)) == text
    for wrong in ("", "http=dag_jobs", "grpc:/=dag_jobs", "http:/a/=dag_jobs", "http:a=dag_jobs", "http:/="):
        with pytest.raises(ValueError, match="must be LISTENER:PREFIX=API"):
            Place.parse(wrong)


def test_two_apis_may_not_have_one_path() -> None:
    twin = replace(DAG_JOBS, name="twin")
    apis = {"dag_jobs": DAG_JOBS, "twin": twin}
    with pytest.raises(ValueError, match="both have POST /jobs"):
        mounts_at([Place("http", "", "dag_jobs"), Place("http", "", "twin")], apis)
    mounts = mounts_at([Place("http", "", "dag_jobs"), Place("http", "/twin", "twin")], apis)
    assert [mount.api.name for mount in documented(mounts)] == ["system", "dag_jobs", "twin"]
    with pytest.raises(ValueError, match="there is no API nothing"):
        mounts_at([Place("http", "", "nothing")], apis)


def test_every_listener_has_health_document_and_page() -> None:
    for site in sites(mounts_at(DEFAULT_PLACES, APIS)).values():
        served = [operation.path for mount in site.mounts for operation in mount.api.operations]
        assert served.count(HEALTH.path) == 1
        assert site.mounts[0].api.name == SYSTEM.name
        assert {"/openapi.yaml", "/openapi.json", "/docs"} <= {asset.path for asset in site.assets}


def test_two_listeners_have_two_addresses() -> None:
    scheduler = (HostPort("127.0.0.1", 7070),)
    with pytest.raises(FieldError) as raised:
        GatewaySettings(scheduler=scheduler, http=HostPort("127.0.0.1", 8081))
    assert raised.value.field == "chadburn_http"


def test_a_path_in_full_goes_before_a_template_that_it_would_fit() -> None:
    site = Site(mounts=(Mount(prefix="", api=APIS["queue"]),))
    assert site.allow("/api/v1/jobs/bulk") == "OPTIONS, POST"
    assert site.allow("/api/v1/jobs/550e8400-e29b-41d4-a716-446655440000") == "DELETE, GET, HEAD, OPTIONS"
