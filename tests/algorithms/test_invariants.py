"""What must not matter: how a batch is cut into parts, the order of questions, and the order of adapters in the stack.

In double precision (but for the norms of the model, which transformers computes in single precision), so that a
difference is a fault and not rounding; the batch has messages of many lengths, cut ones,
questions without signal, and nodes that hear several others.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch

from algorithms.algorithm import BUILTIN, Algorithm, make_algorithm
from algorithms.backbone import Backbone, load_backbone
from algorithms.credit import Credit
from algorithms.learner import Additions, backward
from algorithms.network import Network
from algorithms.replay import Replay
from algorithms.resampling import chosen
from algorithms.rollout import Rollout, SamplingPolicy, roll_out
from neuromas_env.topology import Topology

QUESTIONS, SAMPLES = 8, 4


TASK = tiny_models.LongEcho()


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    torch.set_num_threads(1)
    return load_backbone(tiny_models.save(tmp_path_factory.mktemp("qwen3"), "qwen3"), dtype="float64")


def moved(network: Network, scale: float, seed: int) -> None:
    assert network.adapters is not None
    for index, node in enumerate(network.topology.nodes):  # by name, so that the order of the stack does not matter
        generator = torch.Generator().manual_seed(seed + sum(map(ord, node)))
        with torch.no_grad():
            row_P = network.adapters.flat_NP[index]
            row_P += scale * torch.randn(row_P.shape, generator=generator, dtype=row_P.dtype)


def played(backbone: Backbone, topology: str | Topology, algorithm: Algorithm) -> tuple[Network, Rollout]:
    """What a network did on a batch, and that network a little later."""
    network = Network.create(topology, backbone, rank=2, seed=1)
    moved(network, 0.1, 0)
    tree = [2] + [1] * (network.topology.horizon - 2) + [2] if algorithm.credit == "tree" else None
    rollout = roll_out(
        network, TASK, [TASK.question("train", index) for index in range(QUESTIONS)], SAMPLES,
        temperature=0.8, seed=7, branching=tree,
    )  # fmt: skip
    rollout.rewards_QG[:] = np.random.default_rng(0).integers(3, size=(QUESTIONS, SAMPLES)) / 2
    rollout.rewards_QG[2] = 1.0
    rollout.truncated_M[:] = np.arange(len(rollout.turns)) % 5 == 0
    moved(network, 0.02, 1)
    return network, rollout


def apart(first: torch.Tensor, second: torch.Tensor) -> float:
    """The largest difference, as a share of the largest entry."""
    return float((first - second).abs().max() / second.abs().max())


def prepared(name: str, network: Network | None = None) -> Algorithm:
    options = {"length": 4} if name == "dr-grpo" else {}
    algorithm = make_algorithm(name, options)
    algorithm.prepare(samples=SAMPLES, epochs=1, max_tokens=4)
    if network is not None:
        algorithm.bind(network, seed=0, learning_rate=1e-3)
    return algorithm


def gradient(network: Network, algorithm: Algorithm, rollout: Rollout, tokens: int, **options: object) -> torch.Tensor:
    assert network.adapters is not None
    network.adapters.zero_grad()
    terminal_QGC = Credit(algorithm.credit).rewards(rollout, rollout.rewards_QG, None, 0)
    advantages_QGC = algorithm.assign(rollout, terminal_QGC)
    backward(network, algorithm, rollout, advantages_QGC, temperature=0.8, micro_batch_tokens=tokens, **options)
    return network.adapters.grad_NP.clone()


@pytest.mark.parametrize("extra", [{}, {"additions": Additions(0.1, 0.2, 2.0), "mask_truncated": True}],
                         ids=["plain", "with everything"])  # fmt: skip
@pytest.mark.parametrize("name", BUILTIN)
def test_any_micro_batch_gives_the_gradient_of_the_whole_batch(name, extra, backbone):
    """Eight questions at once, or one by one, or message by message (MALT: a question's messages of a node stay
    together)."""
    network, rollout = played(backbone, "2-1", make_algorithm(name))
    algorithm = prepared(name, network)
    whole_NP = gradient(network, algorithm, rollout, 10**6, **extra)
    assert whole_NP.abs().max() > 1e-4
    for tokens in (1, 100, 333, 2000):
        parts_NP = gradient(network, algorithm, rollout, tokens, **extra)
        assert apart(parts_NP, whole_NP) < 1e-6


@pytest.mark.parametrize("name", ["reinforce", "grpo", "dr-grpo", "gspo", "magrpo", "rloo"])
def test_one_batch_of_eight_questions_is_eight_batches_of_one_accumulated(name, backbone):
    """Where a question is compared with itself alone, gradients of single questions add up to that of all, each
    weighted by its share of the denominator."""
    options = {"baseline": "group"} if name == "reinforce" else {}
    network, rollout = played(backbone, "1-1", make_algorithm(name))
    algorithm = make_algorithm(name, options | ({"length": 4} if name == "dr-grpo" else {}))
    whole_NP = gradient(network, algorithm, rollout, 10**6)
    added_NP = torch.zeros_like(whole_NP)
    for question in range(QUESTIONS):
        single = chosen(rollout, [question])
        part_NP = gradient(network, algorithm, single, 10**6)
        for node in range(2):
            mine, all_ = (
                algorithm.denominators(
                    np.array([float(r.tokens_M[r.node_M == node].sum())]), np.array([float((r.node_M == node).sum())])
                )[0]
                for r in (single, rollout)
            )
            added_NP[node] += part_NP[node] * mine / all_
    assert apart(added_NP, whole_NP) < 1e-6


@pytest.mark.parametrize("name", BUILTIN)
def test_the_order_of_questions_does_not_matter(name, backbone):
    network, rollout = played(backbone, "2-1", make_algorithm(name))
    algorithm = prepared(name, network)
    whole_NP = gradient(network, algorithm, rollout, 500)
    for seed in range(2):
        shuffled = chosen(rollout, np.random.default_rng(seed).permutation(QUESTIONS).tolist())
        assert apart(gradient(network, algorithm, shuffled, 500), whole_NP) < 1e-6


@pytest.mark.parametrize("name", ["reinforce", "gspo", "malt"])
def test_the_order_of_adapters_in_the_stack_does_not_matter(name, backbone):
    """The same network, its nodes listed and computed in another order: the same messages give the same gradients."""
    edges = [("a", "c"), ("b", "c"), ("a", "d"), ("b", "d"), ("c", "e"), ("d", "e")]
    moves: dict[str, Any] = {}
    for nodes in ("abcde", "edcba", "cadeb"):
        network, rollout = played(backbone, Topology.from_edges(nodes, edges, "e"), make_algorithm(name))
        assert network.adapters is not None
        rows = moves.setdefault("rows", dict(zip(nodes, network.adapters.flat_NP.clone(), strict=True)))
        network.adapters.flat_NP.copy_(torch.stack([rows[node] for node in nodes]))
        rollout = said_in_the_first_order(rollout, moves.get("rollout", rollout), network.topology)
        moves.setdefault("rollout", rollout)
        # The gradient: a step of Adam would blow the rounding of the smallest entries up to its own size.
        gradient_NP = gradient(network, prepared(name, network), rollout, 400)
        moves[nodes] = {node: gradient_NP[network.topology.index(node)] for node in "abcde"}
    for node in "abcde":
        assert moves["abcde"][node].abs().max() > 1e-4
        for nodes in ("edcba", "cadeb"):
            assert apart(moves[nodes][node], moves["abcde"][node]) < 1e-6


def said_in_the_first_order(rollout: Rollout, first: Rollout, topology: Topology) -> Rollout:
    """The experience of `first`, its calls and nodes renumbered for `topology`."""
    agents = [node for speakers in topology.schedule for node in speakers]
    rows = sorted(
        range(len(first.turns)),
        key=lambda row: (agents.index(first.turns[row].request.agent), int(first.episode_M[row])),
    )
    turns = [first.turns[row] for row in rows]
    node_M = np.array([topology.index(turn.request.agent) for turn in turns])
    return replace(
        first,
        topology=topology,
        turns=turns,
        samples=[replace(first.samples[row], node=int(node)) for row, node in zip(rows, node_M, strict=True)],
        episode_M=first.episode_M[rows],
        node_M=node_M,
        call_M=np.array([agents.index(turn.request.agent) for turn in turns]),
        truncated_M=first.truncated_M[rows],
        leaves_C=rollout.leaves_C,
    )


def test_batched_replays_are_those_of_single_episodes(backbone, tmp_path: Path):
    """Greedy replays of many variants at once are those played one at a time."""
    from algorithms.replay import Variant

    network, rollout = played(backbone, "2-1", make_algorithm("reinforce"))
    replay = Replay(TASK, SamplingPolicy(network, 0.0, 0))
    variants = [Variant(episode, {call: ""}) for episode in range(0, 32, 3) for call in range(3)]
    together = replay.rewards(rollout, variants)
    assert together.tolist() == [float(replay.rewards(rollout, [variant])[0]) for variant in variants]
    assert 0 < together.mean() < 1
