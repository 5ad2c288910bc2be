import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuromas_env import Topology, TopologyError, UsageError
from neuromas_env.node import Position


@pytest.mark.parametrize(
    ("text", "nodes", "calls", "edges"),
    [("1", 1, 1, 0), ("1-1-1", 3, 3, 2), ("2-2-1", 5, 5, 6), ("2-2-2-1", 7, 7, 10), ("8-1", 9, 9, 8),
     ("2-2-1/all", 5, 5, 8), ("4-4-1/sparse2", 9, 9, 12), ("3x2", 4, 7, 9), ("2x1", 3, 3, 2)],
)  # fmt: skip
def test_parse(text: str, nodes: int, calls: int, edges: int) -> None:
    topology = Topology.parse(text)
    assert (topology.num_nodes, topology.calls, len(topology.edges), str(topology)) == (nodes, calls, edges, text)
    assert topology.nodes == tuple(f"node_{i}" for i in range(nodes))
    assert topology.schedule[-1] == (topology.output,)


def test_slots_follow_the_order_of_edges_and_positions_count_from_one() -> None:
    topology = Topology.parse("2-2-1")
    assert topology.incoming("node_4") == ("node_2", "node_3")
    assert topology.incoming("node_0") == ()
    assert topology.positions[3] == Position(2, 2)
    assert topology.positions[4] == Position(3, 1, is_output=True)
    assert topology.layers == (("node_0", "node_1"), ("node_2", "node_3"), ("node_4",))


def test_all_hears_every_earlier_layer() -> None:
    assert Topology.parse("2-1-1/all").incoming("node_3") == ("node_0", "node_1", "node_2")


@given(st.lists(st.integers(1, 9), max_size=4), st.integers(1, 5))
def test_sparse_bounds_the_fan_in_and_leaves_nobody_unheard(widths: list[int], k: int) -> None:
    widths = [*widths, 1]
    topology = Topology.layered(widths, f"sparse{k}")
    senders = {sender for sender, _ in topology.edges}
    assert senders == set(topology.nodes) - {topology.output}
    for before, layer in zip(topology.layers, topology.layers[1:], strict=False):
        fan_in = {len(topology.incoming(node)) for node in layer}
        assert fan_in == {min(len(before), max(k, -(-len(before) // len(layer))))}


def test_rounds_hear_the_others_and_count_up_in_the_prompt() -> None:
    topology = Topology.rounds(3, 2)
    assert topology.schedule == (("node_0", "node_1", "node_2"),) * 2 + (("node_3",),)
    assert topology.incoming("node_1") == ("node_0", "node_2")
    assert topology.position("node_1", 0) == Position(1, 2, kind="round")
    assert topology.position("node_1", 1) == Position(2, 2, kind="round")
    assert topology.position("node_3", 2).is_output


def test_a_single_round_has_no_edges_between_agents() -> None:
    assert {receiver for _, receiver in Topology.rounds(3, 1).edges} == {"node_3"}


def test_from_edges_layers_by_the_longest_path() -> None:
    topology = Topology.from_edges("abcd", [("a", "b"), ("b", "c"), ("a", "c"), ("d", "c")], "c")
    assert topology.schedule == (("a", "d"), ("b",), ("c",))
    assert topology.incoming("c") == ("b", "a", "d")
    assert topology.positions[3] == Position(1, 2)


@st.composite
def dags(draw: st.DrawFn) -> Topology:
    count = draw(st.integers(1, 8))
    nodes = [f"n{i}" for i in range(count)]
    edges = [(a, b) for i, a in enumerate(nodes) for b in nodes[i + 1 :] if draw(st.booleans())]
    edges += [(n, nodes[-1]) for n in nodes[:-1] if all(a != n for a, _ in edges)]
    rng = random.Random(draw(st.integers(0, 99)))
    rng.shuffle(edges)
    rng.shuffle(nodes)
    return Topology.from_edges(nodes, edges, f"n{count - 1}")


@given(dags())
def test_random_graphs_survive_json_and_speak_after_all_they_hear(topology: Topology) -> None:
    back = Topology.from_json(json.loads(json.dumps(topology.to_json())))
    assert back == topology
    assert str(back) == str(topology)
    when = {node: step for step, speakers in enumerate(topology.schedule) for node in speakers}
    assert all(when[sender] < when[receiver] for sender, receiver in topology.edges)
    for node in topology.nodes:
        assert topology.incoming(node) == tuple(sender for sender, receiver in topology.edges if receiver == node)


@pytest.mark.parametrize(
    "text",
    ["", "2-2", "a", "1-1-1/", "1-1-1/most", "0-1", "1--1", "-1", "99999-1", "2-1/sparse0", "0x2", "2x0", "１-1"],
)
def test_bad_strings_are_refused(text: str) -> None:
    with pytest.raises(TopologyError, match=r"bad|accepted"):
        Topology.parse(text)


@pytest.mark.parametrize(
    ("nodes", "edges", "output", "named"),
    [
        ("aab", [("a", "b")], "b", "'a' is given twice"),
        ("ab", [("a", "z")], "b", "'z'"),
        ("ab", [("a", "b")], "z", "'z'"),
        ("abc", [("a", "b"), ("b", "a"), ("b", "c")], "c", "cycle through or before a, b, c"),
        ("abc", [("a", "c")], "c", "from node 'b'"),
        ("abc", [("a", "b"), ("b", "c")], "b", "speak alone at the last step"),
        ("ab", [("a", "b"), ("a", "b")], "b", "given twice"),
        (["a", ""], [("a", "")], "", "bad node id"),
        (["a", "b\n"], [("a", "b\n")], "b\n", "bad node id"),
    ],
)
def test_bad_graphs_are_refused_by_name(
    nodes: list[str], edges: list[tuple[str, str]], output: str, named: str
) -> None:
    with pytest.raises(TopologyError, match=named):
        Topology.from_edges(nodes, edges, output)


def test_an_edge_that_can_never_carry_a_message_is_refused() -> None:
    topology = Topology.parse("1-1-1")
    data = topology.to_json()
    data["edges"].append(["node_2", "node_0"])
    with pytest.raises(TopologyError, match="'node_2' → 'node_0' carries nothing"):
        Topology.from_json(data)
    data = topology.to_json()
    data["schedule"] = [["node_0"], ["node_2"]]
    with pytest.raises(TopologyError, match="'node_1' never speaks"):
        Topology.from_json(data)


@pytest.mark.parametrize("field", ["nodes", "edges", "schedule", "output", "positions"])
@pytest.mark.parametrize("value", [None, 3, [[3]], "x", [{"layer": 1}]])
def test_damaged_json_is_refused(field: str, value: object) -> None:
    data = Topology.parse("1-1-1").to_json()
    data[field] = value
    with pytest.raises(UsageError):
        Topology.from_json(data)
    del data[field]
    with pytest.raises(TopologyError, match=field):
        Topology.from_json(data)
