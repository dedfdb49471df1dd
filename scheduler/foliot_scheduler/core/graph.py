"""The shape of a job: its tasks as nodes, who waits for whom as edges, proven to be free of cycles.

A graph is built once for each version of a job and shared by its runs, so it is immutable and speaks of nodes by their
position (the order in which the job lists them): the engine's counters are lists over positions. All walks are loops, not
recursion, because a chain of tasks may be as long as the limit on nodes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

NODES_MAX = 100_000
"""A run's rows are written in the one commit that creates it: at the 150,000 rows/s measured for PostgreSQL on two cores,
this many hold up the commits behind them for less than a second."""

EDGES_MAX = 1_000_000
"""Ten for each node of the largest graph. Held in both directions they take 16 MB for a version of a job."""

_CYCLE_KEYS_SHOWN = 10


class GraphError(ValueError):
    """A set of nodes and dependencies that is no DAG within the limits."""


class DuplicateKeyError(GraphError):
    """Two nodes have the same key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"two tasks have the key {key!r}")
        self.key = key


class UnknownDependencyError(GraphError):
    """A node depends on a key that no node has."""

    def __init__(self, key: str, missing: str) -> None:
        super().__init__(f"task {key!r} depends on {missing!r}, which is no task of this job")
        self.key = key
        self.missing = missing


class DuplicateDependencyError(GraphError):
    """A node lists a dependency twice."""

    def __init__(self, key: str, dependency: str) -> None:
        super().__init__(f"task {key!r} lists its dependency {dependency!r} more than once")
        self.key = key
        self.dependency = dependency


class CycleError(GraphError):
    """Nodes wait for each other.

    Attributes:
        path: the keys of one cycle; each depends on the next, and the last is the first again.
    """

    def __init__(self, path: tuple[str, ...]) -> None:
        shown = [repr(key) for key in path]
        if len(shown) > _CYCLE_KEYS_SHOWN:
            left_out = len(shown) - _CYCLE_KEYS_SHOWN
            shown[_CYCLE_KEYS_SHOWN // 2 : -(_CYCLE_KEYS_SHOWN // 2)] = [f"({left_out} more)"]
        super().__init__(f"the dependencies form a cycle: {' -> '.join(shown)}")
        self.path = path


class GraphTooLargeError(GraphError):
    """There are more nodes or edges than one job may have."""

    def __init__(self, what: Literal["nodes", "edges"], count: int, limit: int) -> None:
        name = "tasks" if what == "nodes" else "dependencies"
        super().__init__(f"{count} {name} are too many for one job, {limit} are allowed")
        self.what = what
        self.count = count
        self.limit = limit


@dataclass(frozen=True, slots=True)
class Graph:
    """A DAG of keyed nodes; `build` makes it. Nodes are named by position, 0 to len(keys) - 1, in the order given."""

    keys: tuple[str, ...]
    parents: tuple[tuple[int, ...], ...]
    """For each node the nodes it depends on, in the order given."""
    children: tuple[tuple[int, ...], ...] = field(compare=False, repr=False)
    """For each node the nodes that depend on it, in ascending order."""
    dependency_counts: tuple[int, ...] = field(compare=False, repr=False)
    """For each node how many nodes it depends on."""
    _levels: tuple[tuple[int, ...], ...] = field(compare=False, repr=False)
    _positions: dict[str, int] = field(compare=False, repr=False)

    @classmethod
    def build(cls, nodes: Sequence[tuple[str, Sequence[str]]]) -> Graph:
        """Build the graph of `nodes`: pairs of a key and the keys it depends on, which may come later in the list.

        Raises GraphTooLargeError, DuplicateKeyError, UnknownDependencyError, DuplicateDependencyError or CycleError (also
        for a node that depends on itself); the first that applies in this order, then in the order of the nodes.
        """
        if len(nodes) > NODES_MAX:
            raise GraphTooLargeError("nodes", len(nodes), NODES_MAX)
        edges = sum(len(dependencies) for _, dependencies in nodes)
        if edges > EDGES_MAX:
            raise GraphTooLargeError("edges", edges, EDGES_MAX)
        keys = tuple(key for key, _ in nodes)
        positions = _positions_of(keys)
        parents = _parents_of(nodes, positions)
        children: list[list[int]] = [[] for _ in keys]
        # By way of the dictionary's own integers: each position is one object, however many edges lead to it.
        for position, dependencies in zip(positions.values(), parents, strict=True):
            for parent in dependencies:
                children[parent].append(position)
        levels = _levels_of(parents, children)
        if sum(map(len, levels)) < len(keys):
            raise CycleError(tuple(keys[position] for position in _find_cycle(parents, levels)))
        return cls(
            keys=keys,
            parents=parents,
            children=tuple(map(tuple, children)),
            dependency_counts=tuple(map(len, parents)),
            _levels=levels,
            _positions=positions,
        )

    def position(self, key: str) -> int:
        """The position of the node with that key. Raises KeyError when there is none."""
        return self._positions[key]

    def levels(self) -> tuple[tuple[int, ...], ...]:
        """The nodes by depth: first those without dependencies, then those whose longest way there has one edge, and so on.

        Each level is in ascending order; one after the other they are a topological order.
        """
        return self._levels

    def dependents_of(self, key: str) -> tuple[str, ...]:
        """The keys of all nodes that depend on that one, directly or through others, in the order of the nodes.

        Raises KeyError when no node has the key. For direct dependents alone, see `children`.
        """
        start = self._positions[key]
        reached = {start}
        frontier = [start]
        while frontier:
            for child in self.children[frontier.pop()]:
                if child not in reached:
                    reached.add(child)
                    frontier.append(child)
        reached.remove(start)
        return tuple(self.keys[position] for position in sorted(reached))


def _positions_of(keys: tuple[str, ...]) -> dict[str, int]:
    """Key to position. Raises DuplicateKeyError."""
    positions: dict[str, int] = {}
    for position, key in enumerate(keys):
        if positions.setdefault(key, position) != position:
            raise DuplicateKeyError(key)
    return positions


def _parents_of(nodes: Sequence[tuple[str, Sequence[str]]], positions: dict[str, int]) -> tuple[tuple[int, ...], ...]:
    """For each node the positions it depends on. Raises UnknownDependencyError and DuplicateDependencyError."""
    for key, dependencies in nodes:
        for dependency in dependencies:
            if dependency not in positions:
                raise UnknownDependencyError(key, dependency)
    for key, dependencies in nodes:
        if len(set(dependencies)) < len(dependencies):
            twice = next(one for one, count in Counter(dependencies).items() if count > 1)
            raise DuplicateDependencyError(key, twice)
    return tuple(tuple([positions[dependency] for dependency in dependencies]) for _, dependencies in nodes)


def _levels_of(parents: Sequence[Sequence[int]], children: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    """The nodes by depth, without those on a cycle and those that depend on one (Kahn's algorithm, level by level)."""
    open_parents = [len(dependencies) for dependencies in parents]
    level = [position for position, count in enumerate(open_parents) if count == 0]
    levels = []
    while level:
        levels.append(tuple(level))
        following = []
        for position in level:
            for child in children[position]:
                open_parents[child] -= 1
                if open_parents[child] == 0:
                    following.append(child)
        following.sort()
        level = following
    return tuple(levels)


def _find_cycle(parents: Sequence[Sequence[int]], levels: Sequence[Sequence[int]]) -> list[int]:
    """A cycle among the nodes that have no level; each depends on the next, and the last is the first again."""
    placed = {position for level in levels for position in level}
    position = next(position for position in range(len(parents)) if position not in placed)
    # A node without a level depends on another such node, so a walk towards dependencies never ends: it must come back.
    walk: dict[int, int] = {}
    while position not in walk:
        walk[position] = len(walk)
        position = next(parent for parent in parents[position] if parent not in placed)
    return [*list(walk)[walk[position] :], position]
