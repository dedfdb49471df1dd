"""The OpenAPI 3.1 document, made from the same declarations as the routes.

`python -m foliot_gateway.http.openapi` prints the document of the default configuration as YAML; the copy in the
repository is made so, and a test holds it fresh.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from inspect import cleandoc
from typing import Any, Final

import msgspec

from foliot_gateway.http.fault import Fault, FieldFault
from foliot_gateway.http.operation import Api, NoBody, Operation
from foliot_gateway.http.reading import IDEMPOTENCY_KEY_CHARS_MAX
from foliot_gateway.http.site import Mount
from foliot_gateway.http.yaml import to_yaml

Node = dict[str, Any]

_ALWAYS: Final = {
    400: "The request cannot be read: malformed JSON, invalid UTF-8, or a wrong or unknown parameter.",
    401: "The credentials are missing or wrong.",
    403: "The credentials do not allow it.",
    406: "The `Accept` header asks for another version than 1.0.",
    429: "The rate limit is used up, or there is too much to do at once; `Retry-After` says when to try again.",
    500: "A bug; the answer names the log entry.",
    503: "No replica leads, or PostgreSQL does not answer; `Retry-After` says when to try again.",
}
_WITH_BODY: Final = {
    408: "The body took too long to arrive.",
    413: "The body is larger than 4 MiB.",
    415: "The body is not `application/json`.",
}
_IDEMPOTENT: Final = {422: "The idempotency key was used with another request."}
_RETRY: Final = frozenset({429, 503})
_INFO: Final = """\
Every API is a view of the same jobs, runs, tasks and workers. Bodies are JSON in UTF-8, at most 4 MiB; unknown fields and
unknown query parameters are refused. Times are UTC in ISO 8601. `Accept: application/json; version=1.0` is understood; other
versions get 406. Every answer carries `X-Request-Id`; one that is sent along is kept. A W3C `traceparent` is passed on.

Requests are limited by credential, or by address where no credential is known: a minute's worth may come at once, and what
was used comes back evenly. Every answer has `X-RateLimit-*` and the IETF's `RateLimit` fields; `GET /api/v1/health` is free.

A credential reaches one project, or every project; the header `Foliot-Project` names the one that such a call is for, and
`default` is meant without it. Where authentication is off, it names the project too. Another project than the credential's own
is answered with 403."""


def document(mounts: Iterable[Mount]) -> Node:
    """Return the document of the mounted APIs."""
    mounts = list(mounts)
    paths: dict[str, Node] = {}
    schemas: Node = {}
    responses: Node = {}
    for mount in mounts:
        builder = _Builder(mount.api)
        schemas |= builder.schemas
        responses |= builder.responses
        for operation in mount.api.operations:
            paths.setdefault(mount.prefix + operation.path, {})[operation.method.lower()] = builder.operation(operation)
    tags = {operation.tag: mount.api for mount in mounts for operation in mount.api.operations}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Foliot",
            "version": version("foliot"),
            "description": _INFO,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        # Without authentication configured, calls without credentials are let in: the empty requirement.
        "security": [{"ApiKey": []}, {"Bearer": []}, {}],
        "tags": [{"name": name, "description": api.description} for name, api in tags.items()],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": responses,
            "headers": _LIMIT_HEADERS,
            "securitySchemes": {
                "ApiKey": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "`Authorization: ApiKey <key>`",
                },
                "Bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
        },
    }


def to_json(node: Node) -> bytes:
    """Return a document as JSON."""
    return json.dumps(node, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


class _Builder:
    """Builds the operations of one API; the names of its schemas begin with the API's name."""

    def __init__(self, api: Api) -> None:
        self._api = api
        types: list[Any] = [api.errors.struct]
        for operation in api.operations:
            types += [reply.body for reply in operation.replies if reply.body not in {None, str}]
            if operation.body is not NoBody:
                types.append(operation.body)
        refs, components = msgspec.json.schema_components(types, ref_template=f"#/components/schemas/{api.name}.{{name}}")
        self._refs: list[tuple[Any, Node]] = list(zip(types, refs, strict=True))
        self._common = {**_ALWAYS, **_WITH_BODY}
        self.responses: Node = {
            f"{api.name}.{status}": self._refusal(status, text, _COMMON_PATH) for status, text in self._common.items()
        }
        self.schemas: Node = {f"{api.name}.{name}": _tidied(schema) for name, schema in sorted(components.items())}

    def operation(self, operation: Operation[Any, Any]) -> Node:
        """Return one operation."""
        found: Node = {
            "operationId": f"{self._api.name}_{operation.name}",
            "tags": [operation.tag],
            "summary": operation.summary,
        }
        if operation.description:
            found["description"] = operation.description
        parameters = [*self._path_parameters(operation), *_query_parameters(operation.query)]
        if operation.idempotent:
            parameters.append(_idempotency_key())
        if parameters:
            found["parameters"] = parameters
        if operation.body is not NoBody:
            content = {"schema": self._schema(operation.body), "example": operation.body_example}
            found["requestBody"] = {"required": True, "content": {"application/json": content}}
        found["responses"] = {str(status): node for status, node in sorted(self._responses(operation).items())}
        return found

    def _path_parameters(self, operation: Operation[Any, Any]) -> Iterable[Node]:
        for name in re.findall(r"\{([^}]*)\}", operation.path):
            documented = self._api.parameters[name]
            yield {
                "name": name,
                "in": "path",
                "required": True,
                "description": documented.description,
                "schema": {"type": "string", "minLength": 1},
                "example": documented.example,
            }

    def _responses(self, operation: Operation[Any, Any]) -> dict[int, Node]:
        refusals = dict(_ALWAYS)
        if operation.method != "GET":
            refusals |= _WITH_BODY
        if operation.method != "GET" and operation.body is NoBody:
            # Nothing but an empty object is taken, which is as much a rule as any other.
            refusals.setdefault(self._api.rule_status, "The body is neither absent nor an empty object.")
        for more in (operation.refusals, _IDEMPOTENT if operation.idempotent else {}):
            for status, text in more.items():
                refusals[status] = f"{refusals[status]} {text}" if status in refusals else text
        path = _example_path(self._api, operation)
        responses: dict[int, Node] = {}
        for status, text in refusals.items():
            if self._common.get(status) == text:
                responses[status] = {"$ref": f"#/components/responses/{self._api.name}.{status}"}
            else:
                responses[status] = self._refusal(status, text, path)
        for reply in operation.replies:
            named = {name: {"description": text, "schema": {"type": "string"}} for name, text in reply.headers.items()}
            node: Node = {"description": reply.description, "headers": named | _limit_headers()}
            if reply.body is not None:
                schema = {"type": "string"} if reply.body is str else self._schema(reply.body)
                node["content"] = {reply.media_type: {"schema": schema, "example": reply.example}}
            responses[reply.status] = node
        return responses

    def _refusal(self, status: int, text: str, path: str) -> Node:
        fields = (FieldFault("name", "is required"),) if status == self._api.rule_status else ()
        fault = Fault(status=status, code=_EXAMPLE_CODES[status], detail=text, fields=fields)
        shown = self._api.errors.render(fault, instance=path, request_id=_EXAMPLE_ID)
        content = {"schema": self._schema(self._api.errors.struct), "example": msgspec.to_builtins(shown)}
        wait = {"description": "When to try again, in seconds.", "schema": {"type": "integer", "minimum": 1}}
        named = {"Retry-After": wait} if status in _RETRY else {}
        return {
            "description": text,
            "headers": named | _limit_headers(),
            "content": {self._api.errors.media_type: content},
        }

    def _schema(self, wanted: Any) -> Node:
        return next(ref for held, ref in self._refs if held == wanted)


_COMMON_PATH: Final = "/jobs"
_EXAMPLE_CODES: Final = {
    400: "malformed_json",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    406: "unsupported_version",
    408: "slow_body",
    409: "version_conflict",
    413: "body_too_large",
    415: "unsupported_media_type",
    422: "invalid_field",
    429: "rate_limited",
    500: "internal",
    503: "no_leader",
}
_LIMIT_HEADERS: Final[Node] = {
    "X-RateLimit-Limit": {
        "description": "How many requests a minute these credentials may make, or this address where none are known.",
        "schema": {"type": "integer", "minimum": 1},
        "example": 100,
    },
    "X-RateLimit-Remaining": {
        "description": "How many more would be let through now.",
        "schema": {"type": "integer", "minimum": 0},
        "example": 95,
    },
    "X-RateLimit-Reset": {
        "description": "When there are more, in seconds since the epoch: all of them, or the next one if none is left.",
        "schema": {"type": "integer", "minimum": 0},
        "example": 1623760800,
    },
    "RateLimit-Policy": {
        "description": "The limit as the IETF's draft writes it: `q` requests in `w` seconds.",
        "schema": {"type": "string"},
        "example": '"default";q=100;w=60',
    },
    "RateLimit": {
        "description": "What is left as the IETF's draft writes it: `r` requests, more in `t` seconds.",
        "schema": {"type": "string"},
        "example": '"default";r=95;t=3',
    },
}
_EXAMPLE_ID: Final = "0192f0c3-2c3d-7e4f-a051-2b3c4d5e6f70"


def _limit_headers() -> Node:
    """Return the headers that every response has unless rate limits are off."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in _LIMIT_HEADERS}


def _example_path(api: Api, operation: Operation[Any, Any]) -> str:
    return re.sub(r"\{([^}]*)\}", lambda found: api.parameters[found[1]].example, operation.path)


def _query_parameters(struct: type[Any]) -> Iterable[Node]:
    schema = msgspec.json.schema(struct)
    properties: Mapping[str, Node] = schema["$defs"][struct.__name__]["properties"]
    for name, node in properties.items():
        shown = dict(node)
        yield {
            "name": name,
            "in": "query",
            "required": False,
            "description": shown.pop("description", ""),
            "schema": shown,
        }


def _idempotency_key() -> Node:
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "Makes a repeated call safe: within 24 h the same key and body give the same answer and one effect.",
        "schema": {"type": "string", "minLength": 1, "maxLength": IDEMPOTENCY_KEY_CHARS_MAX, "pattern": "^[ -~]+$"},
    }


def _tidied(node: Any) -> Any:
    """Return a schema with its docstrings' indentation taken out, and of lists and dicts alone."""
    if isinstance(node, dict):
        return {
            key: cleandoc(value) if key == "description" and isinstance(value, str) else _tidied(value)
            for key, value in node.items()
        }
    return [_tidied(value) for value in node] if isinstance(node, list | tuple) else node


def _main() -> None:
    # The APIs and their mounting import this module.
    from foliot_gateway.apis import APIS  # noqa: PLC0415
    from foliot_gateway.http.mounting import DEFAULT_PLACES, documented, mounts_at  # noqa: PLC0415

    sys.stdout.write(to_yaml(document(documented(mounts_at(DEFAULT_PLACES, APIS)))))


if __name__ == "__main__":
    _main()
