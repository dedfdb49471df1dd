"""README.md says nothing that is not so: its paths exist and the gateway takes its examples as they stand."""

from __future__ import annotations

import pathlib
import re

import msgspec

from foliot_gateway.apis.dag_jobs.shapes import JobChange, NewJob

ROOT = pathlib.Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def section(title: str) -> str:
    """The text below a heading of the second level."""
    match = re.search(rf"^## {re.escape(title)}.*?\n(.*?)(?=^## |\Z)", README, flags=re.DOTALL | re.MULTILINE)
    assert match, f"README has no section {title!r}"
    return match[1]


def test_the_guided_path_and_the_folder_map_lead_somewhere() -> None:
    guided = section("What to read first") + section("Folder map")
    paths = re.findall(r"`((?:protos|scheduler|worker|gateway|tests|deploy)(?:/[\w./]*)?)`", guided)
    assert len(paths) > 10
    missing = [path for path in paths if not (ROOT / path).exists()]
    assert not missing


def test_the_bodies_of_the_tour_have_the_documented_shape() -> None:
    tour = section("Five minutes")
    changes = re.findall(r"-X PUT .*? -d '(\{.*?\})'$", tour, flags=re.DOTALL | re.MULTILINE)
    jobs = re.findall(r"^curl -s \S+/jobs -H \S+ \S+ -d '(\{.*?\})'$", tour, flags=re.DOTALL | re.MULTILINE)
    assert len(changes) == 1
    assert len(jobs) == 3
    for body in changes:
        msgspec.json.decode(body, type=JobChange)
    for body in jobs:
        msgspec.json.decode(body, type=NewJob)


def test_the_programs_of_the_tour_are_python() -> None:
    programs = re.findall(r"^```python\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)
    assert programs
    for program in programs:
        compile(program, "tour.py", "exec")


def test_the_place_of_the_state_diagram_is_marked() -> None:
    assert README.index("<!-- task-states:begin -->") < README.index("<!-- task-states:end -->")
