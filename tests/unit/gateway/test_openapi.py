from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from foliot_gateway.apis import APIS
from foliot_gateway.http.mounting import DEFAULT_PLACES, documented, mounts_at
from foliot_gateway.http.openapi import document
from foliot_gateway.http.yaml import to_yaml

COMMITTED = Path(__file__).parents[3] / "gateway" / "openapi.yaml"
DOCUMENT = document(documented(mounts_at(DEFAULT_PLACES, APIS)))

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in node:
        return node
    found: Any = DOCUMENT
    for key in node["$ref"].removeprefix("#/").split("/"):
        found = found[key]
    assert isinstance(found, dict)
    return found


def contents() -> Iterator[Any]:
    for name, operation in operations():
        if "requestBody" in operation:
            for media in operation["requestBody"]["content"].values():
                yield pytest.param(media, id=f"{name} body")
        for status, response in operation["responses"].items():
            for media in resolved(response).get("content", {}).values():
                yield pytest.param(media, id=f"{name} {status}")


def test_the_committed_document_is_fresh() -> None:
    """Made anew by `python -m foliot_gateway.http.openapi > gateway/openapi.yaml`."""
    assert COMMITTED.read_text("utf-8") == to_yaml(DOCUMENT)


def test_the_yaml_says_the_same() -> None:
    assert yaml.safe_load(COMMITTED.read_text("utf-8")) == DOCUMENT


@given(JSON_VALUES)
def test_any_value_survives_the_yaml(value: Any) -> None:
    # PyYAML reads YAML 1.1, which has no 1e+16 without a dot: floats are compared as they are printed there.
    text = to_yaml(value)
    if not re.search(r"\de[+-]?\d", text):
        assert yaml.safe_load(text) == value


def test_every_documented_operation_is_there() -> None:
    assert {name for name, operation in operations() if operation["operationId"].startswith("dag_jobs_")} == {
        "POST /jobs",
        "GET /jobs",
        "GET /jobs/{id}",
        "PUT /jobs/{id}",
        "DELETE /jobs/{id}",
        "POST /jobs/{id}/tasks",
        "GET /jobs/{id}/tasks",
        "PUT /jobs/{id}/tasks/{taskId}",
        "DELETE /jobs/{id}/tasks/{taskId}",
        "POST /jobs/{id}/trigger",
        "GET /jobs/{id}/status",
        "GET /jobs/{id}/history",
        "POST /jobs/{id}/pause",
        "POST /jobs/{id}/resume",
    }


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for _, operation in operations()]
    assert len(ids) == len(set(ids))


def test_path_parameters_are_declared() -> None:
    for name, operation in operations():
        wanted = set(re.findall(r"\{(\w+)\}", name))
        assert {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"} == wanted


def test_every_reference_leads_somewhere() -> None:
    def walk(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            yield from (value for key, value in node.items() if key == "$ref")
            for value in node.values():
                yield from walk(value)
        elif isinstance(node, list):
            for value in node:
                yield from walk(value)

    for reference in set(walk(DOCUMENT)):
        assert resolved({"$ref": reference})


def test_schemas_are_valid() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


@pytest.mark.parametrize("media", list(contents()))
def test_examples_are_true(media: dict[str, Any]) -> None:
    schema = {**media["schema"], "components": DOCUMENT["components"]}
    assert "example" in media
    jsonschema_rs.validator_for(schema).validate(media["example"])
