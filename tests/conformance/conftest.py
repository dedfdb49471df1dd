"""The conformance table: what was shown of each documented endpoint, printed at the end of a run.

A test names the endpoints that it shows: `@pytest.mark.endpoint("dag_jobs", "POST /jobs")`, the API's name in the code and
the operation's method and path as the API declares it, without the prefix at which it is mounted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from foliot_gateway.apis import APIS

if TYPE_CHECKING:
    import pytest

_PROPERTY = "endpoint"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Write on each test's report what it shows."""
    for mark in item.iter_markers("endpoint"):
        api, endpoint = mark.args
        item.user_properties.append((_PROPERTY, f"{api} {endpoint}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, endpoint by endpoint, if a test of any of them ran."""
    shown: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.getreports(outcome):
            for name, value in getattr(report, "user_properties", ()):  # a failed collection has none
                if name == _PROPERTY:
                    shown[str(value)][outcome] += 1
    if not shown:
        return
    terminalreporter.section("conformance, endpoint by endpoint")
    declared = {
        f"{api.name} {operation.method} {operation.path}": api.name for api in APIS.values() for operation in api.operations
    }
    for endpoint in [*declared, *sorted(shown.keys() - declared.keys())]:
        counts = shown[endpoint]
        bad = counts["failed"] + counts["error"]
        verdict = "FAILED" if bad else ("ok" if counts["passed"] else "not run")
        api_name, _, rest = endpoint.partition(" ")
        terminalreporter.write_line(f"{api_name:<10} {rest:<58} {counts['passed']:>4} passed {bad:>3} failed   {verdict}")
