from __future__ import annotations

import httpx
import pytest

from foliot_worker.executors.http import next_url


@pytest.mark.parametrize(
    ("url", "location", "expected"),
    [
        ("http://h/a", "/b", "http://h/b"),
        ("http://h/a", "http://h/b?c", "http://h/b?c"),
        ("http://h/a", "http://h:80/b", "http://h/b"),
        ("http://h/a", "https://h/b", "https://h/b"),
        ("https://h/a", "http://h/b", None),
        ("http://h/a", "http://other/b", None),
        ("http://h/a", "http://h:81/b", None),
        ("http://h:81/a", "https://h/b", None),
        ("http://h/a", "//other/b", None),
        ("http://h/a", "file:///etc/passwd", None),
    ],
)
def test_redirects_stay_with_the_host(url: str, location: str, expected: str | None) -> None:
    response = httpx.Response(302, headers={"location": location})
    found = next_url(httpx.URL(url), response)
    assert (None if found is None else str(found)) == expected


def test_no_redirect_without_a_location() -> None:
    assert next_url(httpx.URL("http://h/"), httpx.Response(302)) is None
    assert next_url(httpx.URL("http://h/"), httpx.Response(200, headers={"location": "/x"})) is None
