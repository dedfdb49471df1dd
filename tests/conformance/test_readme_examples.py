"""The calls that README.md shows work as they stand: each is read from there and sent."""

from __future__ import annotations

import pathlib
import re
import shlex

import httpx
import pytest

from tests.processes import Stack

README = (pathlib.Path(__file__).resolve().parents[2] / "README.md").read_text()
MAIN, SECOND = "http://127.0.0.1:8080", "http://127.0.0.1:8081"


def calls() -> list[str]:
    """The calls below the heading of the five APIs, one a line."""
    found = re.search(r"^## Five APIs\n(.*?)^## ", README, flags=re.DOTALL | re.MULTILINE)
    assert found is not None
    return re.findall(r"^curl .*$", found[1], flags=re.MULTILINE)


def test_there_are_calls_of_every_api() -> None:
    assert len(calls()) == 11


@pytest.mark.parametrize("line", calls())
def test_a_call_of_the_readme_is_answered_well(line: str, stack: Stack) -> None:
    method, url, headers, body = "", "", {}, None
    words = iter(shlex.split(line)[1:])
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = next(words)
        elif word != "-s":
            url = word.replace(MAIN, stack.http_url).replace(SECOND, stack.chadburn_url)
    method = method or ("POST" if body else "GET")
    answer = httpx.request(method, url, headers=headers, content=body, trust_env=False, timeout=30)
    assert answer.status_code in ({200, 204} if "/claim" in url else {201} if method == "POST" else {200}), answer.text
