"""A database URL names one host or several; what is wrong with one is said without quoting it."""

from __future__ import annotations

import pytest

from foliot_scheduler.database_url import read_database_url
from foliot_scheduler.settings import SchedulerSettings


@pytest.mark.parametrize(
    ("url", "names", "urls"),
    [
        ("postgresql://u:p@h:5/d?sslmode=require", ["h:5"], ["postgresql://u:p@h:5/d?sslmode=require"]),
        ("postgres://h/d", ["h"], ["postgresql://h/d"]),
        ("postgresql://u@h1:5,h2/d", ["h1:5", "h2"], ["postgresql://u@h1:5/d", "postgresql://u@h2/d"]),
        ("postgresql://h1,h2/d?port=7", ["h1:7", "h2:7"], ["postgresql://h1:7/d", "postgresql://h2:7/d"]),
        ("postgresql://h1:5,h2/d?port=7,8", ["h1:5", "h2:8"], ["postgresql://h1:5/d", "postgresql://h2:8/d"]),
        ("postgresql:///d?host=h1:5,h2&port=7", ["h1:5", "h2:7"], ["postgresql://h1:5/d", "postgresql://h2:7/d"]),
        ("postgresql://[::1]:5,[::2]/d", ["[::1]:5", "[::2]"], ["postgresql://[::1]:5/d", "postgresql://[::2]/d"]),
        ("postgresql://u@/d?host=/run/pg&port=5", ["/run/pg:5"], ["postgresql://u@/d?host=%2Frun%2Fpg&port=5"]),
        ("postgresql://%2Frun%2Fpg,h/d", ["/run/pg", "h"], ["postgresql:///d?host=%2Frun%2Fpg", "postgresql://h/d"]),
        ("postgresql://h/d?target_session_attrs=read-write&a=b%20c", ["h"], ["postgresql://h/d?a=b%20c"]),
        ("postgresql:///d", [""], ["postgresql:///d"]),
        ("postgresql://", [""], ["postgresql://"]),
    ],
)
def test_each_host_gets_a_url_of_its_own(url: str, names: list[str], urls: list[str]) -> None:
    read = read_database_url(url)
    assert [host.name for host in read.hosts] == names
    assert [host.url for host in read.hosts] == urls


WRONG = [
    ("mysql://u:sesame@h/d", "looks like postgresql://"),
    ("sesame", "looks like postgresql://"),
    ("", "looks like postgresql://"),
    ("postgresql://u:ses#ame@h/d", "must not contain #"),
    ("postgresql://u:ses@me@h/d", "more than one @"),
    ("postgresql://u:sesame/2@h/d", "no port from 1 to 65535 for host 1"),
    ("postgresql://u:sesame@h1,,h2/d", "leaves host 2 of it empty"),
    ("postgresql://u:sesame@h1,/d", "leaves host 2 of it empty"),
    ("postgresql://u:sesame@h1:5,h2:0/d", "no port from 1 to 65535 for host 2"),
    ("postgresql://u:sesame@h1:5,h2:65536/d", "no port from 1 to 65535 for host 2"),
    ("postgresql://u:sesame@h:/d", "no port from 1 to 65535 for host 1"),
    ("postgresql://u:sesame@h1,h2/d?port=x", "its option port"),
    ("postgresql://u:sesame@h1,h2,h3/d?port=1,2", "names 3 hosts and 2 ports"),
    ("postgresql://u:sesame@::1/d", "no valid address as host 1 of it: an IPv6 address is put in brackets"),
    ("postgresql://u:sesame@h1,[::1/d", "no valid address as host 2"),
    ("postgresql://u:sesame@h/d?sesame", "not name=value"),
    ("postgresql://u:sesame@h1,h2/d?target_session_attrs=standby", "Foliot has to write"),
    ("postgresql://u:sesame@h1,h2/d?target_session_attrs=prefer-standby", "Foliot has to write"),
    ("postgresql://u:sesame@h/d?sslmode=yes", "none of disable, allow"),
]


@pytest.mark.parametrize(("url", "rule"), WRONG, ids=[url for url, _ in WRONG])
def test_the_rule_that_a_url_breaks_is_named_without_the_password(url: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule) as caught:
        read_database_url(url)
    assert "sesame" not in str(caught.value)


def test_the_password_and_the_options_are_not_shown() -> None:
    assert read_database_url("postgresql://u:p@h1:5,h2:6/d?password=p").shown == "postgresql://u@h1:5,h2:6/d"


def test_the_setting_takes_several_hosts() -> None:
    """Given as the option, not as a field: the parser is what a user meets."""
    parse = SchedulerSettings.__dataclass_fields__["database_url"].metadata["foliot.option"].parse
    assert parse("postgresql://u@h1:5,h2:6/d") == "postgresql://u@h1:5,h2:6/d"
