"""Requests that nobody thought of: schemathesis reads the served OpenAPI document and sends what it allows, and what it forbids.

Every answer must be one that the document knows: no 5xx, no status, header or body outside of the schema, nothing accepted that
the document refuses. A bounded run is part of the tests; `make fuzz` makes a long one of it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.processes import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "3"))
"""Cases for each operation in each phase that draws them at random."""

SEED = os.environ.get("FUZZ_SEED", "")

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "missing_required_header",
    "negative_data_rejection",
)


def fuzz(url: str, folder: Path, *headers: str) -> int:
    """Send what schemathesis makes of the document served at a URL, and answer how many requests that were."""
    arguments = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.yaml", "--url", url),
        *("--checks", ",".join(CHECKS), "--max-examples", str(EXAMPLES), "--no-shrink", "--request-timeout", "30"),
        *("--phases", "examples,coverage,fuzzing,stateful" if EXAMPLES > 10 else "examples,fuzzing,stateful"),
        *(argument for header in headers for argument in ("--header", header)),
        *(("--seed", SEED) if SEED else ()),
    ]
    ended = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False)
    print(ended.stdout)  # noqa: T201 - the report, with its seed and its counts, for whoever runs it with -s
    assert ended.returncode == 0, (
        f"set FUZZ_SEED to the seed below to see it again\n{ended.stdout[-20_000:]}{ended.stderr[-4_000:]}"
    )
    counted = re.search(r"([\d,]+) generated, ([\d,]+) passed", ended.stdout)
    assert counted is not None, ended.stdout
    assert counted[1] == counted[2]
    return int(counted[1].replace(",", ""))


@pytest.fixture(scope="module")
def idle_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack without a worker: nobody runs the shell lines that come out of this."""
    with Stack(tmp_path_factory.mktemp("fuzzed")) as stack:
        stack.start(workers=0)
        yield stack


@pytest.fixture(scope="module")
def secured_idle_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The same, with credentials required."""
    with Stack(tmp_path_factory.mktemp("fuzzed_secured"), auth=True) as stack:
        stack.start(workers=0)
        yield stack


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_no_answer_is_outside_of_the_document(idle_stack: Stack, tmp_path: Path) -> None:
    assert fuzz(idle_stack.http_url, tmp_path) > 0


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("role", ["admin", "nobody"])
def test_no_answer_is_outside_of_the_document_where_callers_say_who_they_are(
    secured_idle_stack: Stack, tmp_path: Path, role: str
) -> None:
    headers = [] if role == "nobody" else [f"Authorization: ApiKey {secured_idle_stack.create_key(role, 'fuzzed')}"]
    assert fuzz(secured_idle_stack.http_url, tmp_path, *headers) > 0
