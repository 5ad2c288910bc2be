from neuromas_env import Engine, Topology


def texts(engine: Engine, node: str, episode: int = 0) -> list[tuple[int, str, str]]:
    return [(m.slot, m.sender, m.text) for m in engine.inboxes(node)[episode]]


def test_a_message_takes_one_step_on_an_edge() -> None:
    engine = Engine(Topology.parse("1-1-1/all"), 2)
    assert texts(engine, "node_1") == [(1, "node_0", "")]
    engine.deliver({"node_0": ["a", "b"]})
    assert texts(engine, "node_1") == [(1, "node_0", "a")]
    assert texts(engine, "node_1", 1) == [(1, "node_0", "b")]
    engine.deliver({"node_1": ["c", "d"]})
    assert texts(engine, "node_2", 1) == [(1, "node_0", "b"), (2, "node_1", "d")]
    assert not engine.done
    engine.deliver({"node_2": ["e", "f"]})
    assert engine.done
    assert engine.answers == ["e", "f"]
    assert engine.speakers == ()


def test_rounds_keep_the_latest_message_and_nobody_hears_this_round() -> None:
    engine = Engine(Topology.rounds(2, 3), 1)
    engine.deliver({"node_0": ["a1"], "node_1": ["b1"]})
    assert texts(engine, "node_0") == [(1, "node_1", "b1")]
    engine.deliver({"node_0": ["a2"], "node_1": ["b2"]})
    assert texts(engine, "node_0") == [(1, "node_1", "b2")]
    engine.deliver({"node_0": ["a3"], "node_1": ["b3"]})
    assert texts(engine, "node_2") == [(1, "node_0", "a3"), (2, "node_1", "b3")]


def test_a_graph_that_skips_layers_keeps_early_messages() -> None:
    topology = Topology.from_edges("abcd", [("c", "d"), ("a", "b"), ("b", "c"), ("a", "d")], "d")
    engine = Engine(topology, 1)
    for node in "abc":
        engine.deliver({node: [node.upper()]})
    assert texts(engine, "d") == [(1, "c", "C"), (2, "a", "A")]


def test_what_a_caller_does_to_its_lists_later_changes_nothing() -> None:
    engine = Engine(Topology.parse("1-1"), 1)
    mine = ["a"]
    engine.deliver({"node_0": mine})
    mine[0] = "changed"
    assert texts(engine, "node_1") == [(1, "node_0", "a")]
