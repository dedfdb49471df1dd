from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foliot_scheduler.core import graph
from foliot_scheduler.core.graph import (
    CycleError,
    DuplicateDependencyError,
    DuplicateKeyError,
    Graph,
    GraphError,
    GraphTooLargeError,
    UnknownDependencyError,
)

Nodes = Sequence[tuple[str, Sequence[str]]]

DIAMOND: Nodes = [("load", ["left", "right"]), ("left", ["start"]), ("right", ["start"]), ("start", []), ("alone", [])]


@st.composite
def dags(draw: st.DrawFn) -> Nodes:
    """Nodes in any order, with dependencies on nodes earlier in another order."""
    keys = [f"t{number}" for number in range(draw(st.integers(0, 12)))]
    order = draw(st.permutations(keys))
    nodes = []
    for place, key in enumerate(order):
        earlier = order[:place]
        dependencies = draw(st.lists(st.sampled_from(earlier), unique=True)) if earlier else []
        nodes.append((key, dependencies))
    return draw(st.permutations(nodes))


@st.composite
def any_graphs(draw: st.DrawFn) -> Nodes:
    """Dependencies on any node, itself included."""
    keys = [f"t{number}" for number in range(draw(st.integers(1, 8)))]
    return [(key, draw(st.lists(st.sampled_from(keys), unique=True, max_size=3))) for key in keys]


def depth(nodes: Nodes, key: str) -> int:
    """Length of the longest way to a node without dependencies; for DAGs only."""
    return max((1 + depth(nodes, dependency) for dependency in dict(nodes)[key]), default=0)


def reachable(nodes: Nodes, key: str) -> set[str]:
    """All that a node depends on, by repeating until nothing is added."""
    found = set(dict(nodes)[key])
    while more := {far for near in found for far in dict(nodes)[near]} - found:
        found |= more
    return found


def test_a_diamond() -> None:
    built = Graph.build(DIAMOND)

    assert built.keys == ("load", "left", "right", "start", "alone")
    assert built.parents == ((1, 2), (3,), (3,), (), ())
    assert built.children == ((), (0,), (0,), (1, 2), ())
    assert built.dependency_counts == (2, 1, 1, 0, 0)
    assert built.levels() == ((3, 4), (1, 2), (0,))
    assert [built.position(key) for key in built.keys] == [0, 1, 2, 3, 4]
    assert built.dependents_of("start") == ("load", "left", "right")
    assert built.dependents_of("left") == ("load",)
    assert built.dependents_of("load") == built.dependents_of("alone") == ()


def test_nothing() -> None:
    built = Graph.build([])

    assert (built.keys, built.children, built.dependency_counts, built.levels()) == ((), (), (), ())


def test_unknown_keys_are_key_errors() -> None:
    built = Graph.build(DIAMOND)

    with pytest.raises(KeyError):
        built.position("nobody")
    with pytest.raises(KeyError):
        built.dependents_of("nobody")


def test_graphs_are_values() -> None:
    assert Graph.build(DIAMOND) == Graph.build(DIAMOND)
    assert hash(Graph.build(DIAMOND)) == hash(Graph.build(DIAMOND))
    assert Graph.build(DIAMOND) != Graph.build(DIAMOND[2:4])
    with pytest.raises(AttributeError):
        Graph.build(DIAMOND).keys = ()  # type: ignore[misc]  # the point of the test


@given(dags())
def test_a_dag_is_what_was_given(nodes: Nodes) -> None:
    built = Graph.build(nodes)

    assert [(built.keys[at], [built.keys[parent] for parent in parents]) for at, parents in enumerate(built.parents)] == [
        (key, list(dependencies)) for key, dependencies in nodes
    ]
    assert built.dependency_counts == tuple(len(dependencies) for _, dependencies in nodes)
    for position, key in enumerate(built.keys):
        assert built.position(key) == position
        expected = [child for child, (_, dependencies) in enumerate(nodes) if key in dependencies]
        assert list(built.children[position]) == expected
        assert list(built.dependents_of(key)) == [other for other in built.keys if key in reachable(nodes, other)]


@given(dags())
def test_levels_are_depths(nodes: Nodes) -> None:
    levels = Graph.build(nodes).levels()

    assert sorted(position for level in levels for position in level) == list(range(len(nodes)))
    for number, level in enumerate(levels):
        assert level == tuple(sorted(level))
        assert {depth(nodes, nodes[position][0]) for position in level} == {number}


@given(any_graphs())
def test_a_cycle_is_found_exactly_when_there_is_one(nodes: Nodes) -> None:
    has_cycle = any(key in reachable(nodes, key) for key, _ in nodes)
    try:
        Graph.build(nodes)
    except CycleError as error:
        path = error.path
    else:
        assert not has_cycle
        return
    assert has_cycle
    assert path[0] == path[-1]
    assert len(set(path)) == len(path) - 1 >= 1
    assert all(needed in dict(nodes)[key] for key, needed in itertools.pairwise(path))


@pytest.mark.parametrize(
    ("nodes", "path"),
    [
        ([("a", ["a"])], ("a", "a")),
        ([("a", ["b"]), ("b", ["a"])], ("a", "b", "a")),
        ([("a", ["b"]), ("b", ["c"]), ("c", ["a"])], ("a", "b", "c", "a")),
        # What leads to a cycle and what hangs on it is no part of it.
        ([("end", ["b"]), ("a", ["b", "start"]), ("b", ["a"]), ("start", [])], ("b", "a", "b")),
    ],
)
def test_cycles_are_named(nodes: Nodes, path: tuple[str, ...]) -> None:
    with pytest.raises(CycleError) as caught:
        Graph.build(nodes)

    assert caught.value.path == path
    assert str(caught.value) == "the dependencies form a cycle: " + " -> ".join(map(repr, path))


def test_other_errors_say_what_is_wrong() -> None:
    with pytest.raises(DuplicateKeyError, match="two tasks have the key 'a'") as duplicate:
        Graph.build([("a", []), ("b", []), ("a", ["b"])])
    assert duplicate.value.key == "a"

    with pytest.raises(UnknownDependencyError, match="'b' depends on 'x', which is no task") as unknown:
        Graph.build([("a", []), ("b", ["a", "x"])])
    assert (unknown.value.key, unknown.value.missing) == ("b", "x")

    with pytest.raises(DuplicateDependencyError, match="'c' lists its dependency 'a' more than once") as twice:
        Graph.build([("a", []), ("b", []), ("c", ["a", "b", "b", "a"])])
    assert (twice.value.key, twice.value.dependency) == ("c", "a")

    assert issubclass(GraphError, ValueError)


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (graph.NODES_MAX, graph.EDGES_MAX) == (100_000, 1_000_000)
    monkeypatch.setattr(graph, "NODES_MAX", 5)
    monkeypatch.setattr(graph, "EDGES_MAX", 4)
    assert len(Graph.build(DIAMOND).keys) == 5

    with pytest.raises(GraphTooLargeError, match="6 tasks are too many for one job, 5 are allowed") as nodes:
        Graph.build([*DIAMOND, ("more", [])])
    assert (nodes.value.what, nodes.value.count, nodes.value.limit) == ("nodes", 6, 5)

    with pytest.raises(GraphTooLargeError, match="5 dependencies are too many for one job, 4 are allowed") as edges:
        Graph.build([*DIAMOND[:4], ("alone", ["start"])])
    assert (edges.value.what, edges.value.count, edges.value.limit) == ("edges", 5, 4)


def test_the_longest_chain() -> None:
    size = graph.NODES_MAX
    # Listed last first, which is the worst order for anything that recurses.
    nodes: Nodes = [(str(number), [str(number - 1)] if number else []) for number in reversed(range(size))]

    built = Graph.build(nodes)

    assert len(built.levels()) == size
    assert built.levels()[-1] == (0,)
    assert len(built.dependents_of("0")) == size - 1


def test_the_longest_cycle() -> None:
    size = graph.NODES_MAX
    nodes: Nodes = [(str(number), [str((number + 1) % size)]) for number in range(size)]

    with pytest.raises(CycleError) as caught:
        Graph.build(nodes)

    assert len(caught.value.path) == size + 1
    assert str(caught.value).endswith("'3' -> '4' -> (99991 more) -> '99996' -> '99997' -> '99998' -> '99999' -> '0'")


def test_the_most_edges() -> None:
    wide = graph.EDGES_MAX // 1_000
    sources: Nodes = [(f"s{number}", []) for number in range(1_000)]
    keys = [key for key, _ in sources]

    built = Graph.build([*sources, *((f"t{number}", keys) for number in range(wide))])

    assert sum(built.dependency_counts) == graph.EDGES_MAX
    assert list(map(len, built.levels())) == [1_000, wide]
