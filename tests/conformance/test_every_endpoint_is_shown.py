from __future__ import annotations

import re
from pathlib import Path

from foliot_gateway.apis import APIS

_MARK = re.compile(r'mark\.endpoint\(\s*"(\w+)",\s*"([A-Z]+ [^"]+)"')


def test_every_declared_operation_has_a_conformance_test_and_every_mark_names_one() -> None:
    declared = {(api.name, f"{operation.method} {operation.path}") for api in APIS.values() for operation in api.operations}
    marked = {
        (mark[1], mark[2])
        for path in Path(__file__).parent.rglob("*.py")
        for mark in _MARK.finditer(path.read_text(encoding="utf-8"))
    }
    assert marked == declared
