"""What is decided for all APIs alike, shown on every operation of every API that is mounted, as it declares itself.

An API that is added is tested here without being named: its operations, its body examples and its error shape are read
from its declaration.
"""

from __future__ import annotations

import gzip
import http.client
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest

from foliot_gateway.apis import APIS
from foliot_gateway.http.operation import Api
from tests.conformance.endpoints import ENDPOINTS, Endpoint, each

JSON = {"content-type": "application/json"}
BODY_BYTES_MAX = 4 * 1024 * 1024
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
LIMIT_FIELDS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit-policy", "ratelimit")


def parameters(endpoint: Endpoint) -> dict[str, dict[str, Any]]:
    """The schemas of an operation's query parameters by name."""
    schema = msgspec.json.schema(endpoint.operation.query)
    found: dict[str, dict[str, Any]] = schema["$defs"][endpoint.operation.query.__name__]["properties"]
    return {name: next((one for one in node.get("anyOf", ()) if one["type"] != "null"), node) for name, node in found.items()}


def wrong_values(schema: dict[str, Any]) -> Iterator[str]:
    """Values that a query parameter's schema forbids."""
    if schema.get("type") == "integer":
        yield from (str(schema["minimum"] - 1), str(schema["maximum"] + 1), "9" * 30, "x", "", "1.0", "1e1", "+1", " 1", "true")
    elif "enum" in schema:
        yield from ("no_such_value", "", str(schema["enum"][0]).swapcase(), f"{schema['enum'][0]} ")
    elif schema.get("type") == "string":
        yield from ("x" * (schema["maxLength"] + 1), "\0")


@pytest.fixture(scope="module")
def client(stack_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack_url, timeout=30) as client:
        yield client


def check_refused(endpoint: Endpoint, answer: httpx.Response, status: int, named: str = "") -> None:
    """An answer is an error in the API's own shape, and says what it is about."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].partition(";")[0] == endpoint.api.errors.media_type
    msgspec.json.decode(answer.content, type=endpoint.api.errors.struct)
    assert named in answer.text
    check_headers(answer)


def check_headers(answer: httpx.Response) -> None:
    """What every response carries, whatever it says."""
    limit, remaining, reset = (int(answer.headers[name]) for name in LIMIT_FIELDS[:3])
    assert 0 <= remaining <= limit
    assert reset > 0
    assert answer.headers["ratelimit-policy"] == f'"default";q={limit};w=60'
    assert re.fullmatch(rf'"default";r={remaining};t=\d+', answer.headers["ratelimit"])
    assert answer.headers["x-request-id"]
    assert answer.headers["x-content-type-options"] == "nosniff"


@each()
def test_a_wrong_method_is_405_and_the_right_ones_are_named(client: httpx.Client, endpoint: Endpoint) -> None:
    allowed = set(client.options(endpoint.path).headers["allow"].split(", "))
    assert {endpoint.operation.method, "OPTIONS"} <= allowed
    for method in set(METHODS) - allowed:
        answer = client.request(method, endpoint.path)
        check_refused(endpoint, answer, 405)
        assert set(answer.headers["allow"].split(", ")) == allowed


@each(lambda endpoint: endpoint.operation.method != "GET")
def test_a_body_that_is_not_said_to_be_json_is_415(client: httpx.Client, endpoint: Endpoint) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"):
        answer = client.request(endpoint.operation.method, endpoint.path, content=b"{}", headers={"content-type": content_type})
        check_refused(endpoint, answer, 415)


@each(lambda endpoint: endpoint.needs_body)
def test_a_compressed_body_is_415(client: httpx.Client, endpoint: Endpoint) -> None:
    compressed = {**JSON, "content-encoding": "gzip"}
    content = gzip.compress(json.dumps(endpoint.body).encode())
    answer = client.request(endpoint.operation.method, endpoint.path, content=content, headers=compressed)
    check_refused(endpoint, answer, 415)


@each(lambda endpoint: endpoint.operation.method != "GET")
def test_a_body_that_is_no_json_is_400(client: httpx.Client, endpoint: Endpoint) -> None:
    for content in (b"{", b"nonsense", b'{"a": NaN}', b'{"a": ' + b"9" * 5_000 + b", NaN}", b'{"a": "\xff"}', b"{}{}"):
        answer = client.request(endpoint.operation.method, endpoint.path, content=content, headers=JSON)
        check_refused(endpoint, answer, 400)


@each(lambda endpoint: endpoint.needs_body)
def test_a_key_given_twice_is_400_and_named(client: httpx.Client, endpoint: Endpoint) -> None:
    one = endpoint.body[0] if isinstance(endpoint.body, list) else endpoint.body
    key, value = next(iter(one.items()))
    again = json.dumps(one)[:-1] + f', "{key}": {json.dumps(value)}}}'
    content = f"[{again}]" if isinstance(endpoint.body, list) else again
    answer = client.request(endpoint.operation.method, endpoint.path, content=content, headers=JSON)
    check_refused(endpoint, answer, 400, named=key)


@each(lambda endpoint: endpoint.needs_body)
def test_no_body_where_one_is_needed_is_refused(client: httpx.Client, endpoint: Endpoint) -> None:
    check_refused(endpoint, client.request(endpoint.operation.method, endpoint.path, headers=JSON), 400)


@each(lambda endpoint: endpoint.operation.method != "GET")
def test_a_body_of_another_type_than_an_object_is_refused(client: httpx.Client, endpoint: Endpoint) -> None:
    for content in (b"null", b"7", b'"text"', b"[[]]"):
        answer = client.request(endpoint.operation.method, endpoint.path, content=content, headers=JSON)
        check_refused(endpoint, answer, endpoint.api.rule_status)


@each(lambda endpoint: endpoint.operation.method != "GET")
def test_an_unknown_field_is_refused_and_named(client: httpx.Client, endpoint: Endpoint) -> None:
    more = {"no_such_field": 1}
    body = endpoint.body
    wrong = [{**body[0], **more}] if isinstance(body, list) else {**body, **more}
    answer = client.request(endpoint.operation.method, endpoint.path, json=wrong)
    check_refused(endpoint, answer, endpoint.api.rule_status, named="no_such_field")


@each(lambda endpoint: endpoint.operation.method != "GET")
def test_a_body_over_4_mib_is_413(stack_url: str, endpoint: Endpoint) -> None:
    host = stack_url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=30)
    connection.putrequest(endpoint.operation.method, endpoint.path)
    # Its length is enough to refuse it: the client that asks for leave to send it need not.
    for name, value in {**JSON, "content-length": str(BODY_BYTES_MAX + 1), "expect": "100-continue"}.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413
    msgspec.json.decode(answer.read(), type=endpoint.api.errors.struct)
    connection.close()


@each()
def test_an_unknown_query_parameter_is_400_and_named(client: httpx.Client, endpoint: Endpoint) -> None:
    answer = client.request(endpoint.operation.method, endpoint.path, params={"no_such_parameter": "1"})
    check_refused(endpoint, answer, 400, named="no_such_parameter")


@each(lambda endpoint: bool(parameters(endpoint)))
def test_a_parameter_outside_of_its_bounds_is_400_and_named_never_clamped(client: httpx.Client, endpoint: Endpoint) -> None:
    for name, schema in parameters(endpoint).items():
        for value in wrong_values(schema):
            answer = client.request(endpoint.operation.method, endpoint.path, params={name: value})
            check_refused(endpoint, answer, 400, named=name)
        if schema.get("type") != "array":
            answer = client.request(endpoint.operation.method, endpoint.path, params={name: ["1", "1"]})
            check_refused(endpoint, answer, 400, named=name)


@each()
def test_another_version_than_1_0_is_406(client: httpx.Client, endpoint: Endpoint) -> None:
    for accept in ("application/json; version=2.0", 'application/json;version="0.9"', "*/*; version=1.1"):
        answer = client.request(endpoint.operation.method, endpoint.path, headers={"accept": accept})
        check_refused(endpoint, answer, 406)


@each(lambda endpoint: endpoint.operation.method == "GET")
def test_version_1_0_or_none_is_answered(client: httpx.Client, endpoint: Endpoint) -> None:
    for accept in ("application/json; version=1.0", "application/json;version=1", "*/*", "text/html"):
        answer = client.get(endpoint.path, headers={"accept": accept})
        assert answer.status_code in {200, 404}, answer.text
        check_headers(answer)


@each(lambda endpoint: "{" in endpoint.operation.path)
def test_an_unknown_id_is_404(client: httpx.Client, endpoint: Endpoint) -> None:
    body = endpoint.body if endpoint.needs_body else None
    answer = client.request(endpoint.operation.method, endpoint.strange_path, json=body)
    check_refused(endpoint, answer, 404)


@each(lambda endpoint: "{" in endpoint.operation.path)
def test_an_id_that_can_be_none_is_404(client: httpx.Client, endpoint: Endpoint) -> None:
    body = endpoint.body if endpoint.needs_body else None
    for name in ("%00", "%ff", "a%2Fb", "..%2F..%2Fetc%2Fpasswd", "é" * 2_000, "' OR 1=1 --", "*"):
        path = endpoint.prefix + re.sub(r"\{([^}]*)\}", name, endpoint.operation.path)
        check_refused(endpoint, client.request(endpoint.operation.method, path, json=body), 404)


@each(lambda endpoint: endpoint.operation.idempotent)
def test_an_idempotency_key_that_is_empty_long_or_unprintable_is_400(client: httpx.Client, endpoint: Endpoint) -> None:
    for key in (b"", b"x" * 256, b"caf\xe9", b"a\tb"):
        headers = {b"idempotency-key": key, b"content-type": b"application/json"}
        answer = client.request(endpoint.operation.method, endpoint.strange_path, json=endpoint.body, headers=headers)
        check_refused(endpoint, answer, 400, named="Idempotency-Key")


@each(lambda endpoint: not endpoint.path.endswith("/health"))
def test_credentials_that_can_be_none_are_401(client: httpx.Client, endpoint: Endpoint) -> None:
    body = endpoint.body if endpoint.needs_body else None
    for credentials in (b"ApiKey caf\xe9", b"Bearer " + b"x" * 10_000):
        answer = client.request(endpoint.operation.method, endpoint.path, json=body, headers={b"authorization": credentials})
        check_refused(endpoint, answer, 401)
        assert "ApiKey" in answer.headers["www-authenticate"]


@pytest.mark.parametrize("api", APIS.values(), ids=lambda api: api.name)
def test_an_unknown_path_has_the_error_shape_of_the_api_that_claims_it(client: httpx.Client, api: Api) -> None:
    endpoint = next(one for one in ENDPOINTS if one.api is api)
    for claim in api.claims:
        for method in METHODS:
            answer = client.request(method, f"{endpoint.prefix}{claim.rstrip('/')}/no/such/path")
            check_refused(endpoint, answer, 404)


def test_the_root_says_where_everything_is(client: httpx.Client) -> None:
    answer = client.get("/")
    assert answer.headers["content-type"] == "application/json"
    found = answer.json()
    assert set(found["apis"]) == set(APIS)
    for path in (found["docs"], found["openapi"], found["health"]):
        assert client.get(path).status_code == 200
    assert client.post("/").headers["allow"] == "GET, HEAD, OPTIONS"


def test_methods_of_other_protocols_are_405_on_a_known_path_and_404_elsewhere(client: httpx.Client) -> None:
    for method in ("PROPFIND", "TRACE", "LOCK"):
        answer = client.request(method, "/jobs")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")
        assert client.request(method, "/no/such/path").status_code == 404


@pytest.mark.parametrize("path", ["/", "/docs", "/docs/docs.js", "/openapi.yaml", "/openapi.json", "/api/v1/health"])
def test_pages_and_health_tell_of_the_limit_too(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    check_headers(answer)
    check_headers(client.head(path))
    check_headers(client.options(path))
