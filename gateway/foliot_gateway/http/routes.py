"""Finds what is at a path: a tree of segments, of which some are parameters.

Every request passes here, so it is no more than a walk over dictionaries; a router of a framework takes longer for this than the
rest of the gateway for all else. A segment of its own name comes before a parameter, whatever was added first; what is at a path
is settled before the method is looked at, so that a path in full never lends itself to a template that it would fit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Node(Generic[T]):
    named: dict[str, _Node[T]] = field(default_factory=dict)
    parameter: _Node[T] | None = None
    held: dict[str, tuple[T, tuple[str, ...]]] = field(default_factory=dict)
    """What is here, by method, with the names of its parameters."""


class Routes(Generic[T]):
    """What is where: `T` by method and path template, such as `/jobs/{id}/trigger`."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, method: str, template: str, what: T) -> None:
        """Put something at a path; a `{name}` takes the place of one whole segment."""
        node, names = self._root, []
        for segment in _segments(template):
            if segment.startswith("{") and segment.endswith("}"):
                names.append(segment[1:-1])
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.named.setdefault(segment, _Node())
        assert method not in node.held, f"two have {method} {template}"
        node.held[method] = (what, tuple(names))

    def find(self, method: str, path: str) -> tuple[T, dict[str, str]] | None:
        """Return what a method of a path leads to, with the values of its parameters; None where nothing is.

        A slash at the end makes no difference.
        """
        values: list[str] = []
        node = _walk(self._root, _segments(path), 0, values)
        held = node.held.get(method) if node is not None else None
        if held is None:
            return None
        what, names = held
        return what, dict(zip(names, values, strict=True))


def _segments(path: str) -> list[str]:
    return path.strip("/").split("/") if path != "/" else []


def _walk(node: _Node[T], segments: list[str], at: int, values: list[str]) -> _Node[T] | None:
    if at == len(segments):
        return node if node.held else None
    segment = segments[at]
    named = node.named.get(segment)
    if named is not None and (found := _walk(named, segments, at + 1, values)) is not None:
        return found
    if node.parameter is None or not segment:
        return None
    values.append(segment)
    found = _walk(node.parameter, segments, at + 1, values)
    if found is None:
        values.pop()
    return found
