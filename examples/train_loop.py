"""NeuroMAS in one flat loop: roll out, credit, learn, judge. Copy it and change what you like; no trainer is involved.

    python examples/train_loop.py --task chain --topology 1-1-1 --updates 20

Three nodes share the frozen backbone `nano` and own an adapter each. They are pushed by the reward of the answer alone:
REINFORCE with the batch mean as baseline (arXiv 2605.16757). It learns what `neuromas train` learns with the same
settings, and draws other questions and other tokens, so its numbers differ as those of another seed do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import tyro

import neuromas_env
from algorithms import Network
from algorithms.optimizer import StackedAdam
from algorithms.packing import TrainSample, pack


@dataclass
class Config:
    task: str = "chain"
    """What to learn, as listed by `neuromas tasks`."""
    topology: str = "1-1-1"
    """Widths of the layers; each hears the one before."""
    backbone: str = "nano"
    """The frozen model: nano, a Hugging Face id or a folder."""
    rank: int = 8
    """The rank of each node's adapter."""
    updates: int = 20
    """Batches to learn from."""
    questions: int = 16
    """Questions in a batch (Q)."""
    samples: int = 8
    """Episodes of each question (G)."""
    learning_rate: float = 3e-3
    """The learning rate of Adam at the start; it falls linearly to 0."""
    clip: float = 1.0
    """The longest gradient of one node."""
    micro_batch_tokens: int = 16384
    """Tokens that go through the backbone at once."""
    judged: int = 200
    """Validation questions, answered greedily at the start and at the end."""
    seed: int = 0


def judge(network: Network, config: Config) -> float:
    """The share of validation questions that the network answers right when every node takes its likeliest token."""
    batch = neuromas_env.vector_env(config.task, config.topology, config.judged, split="validation")
    batch.reset(questions=range(config.judged))
    while not batch.done:
        batch.step(network.sample(batch.requests(), temperature=0.0))
    return float(batch.rewards_E.mean())


def main(config: Config) -> list[float]:
    """Train, print a line an update, and give back the mean reward of every update."""
    torch.set_num_threads(1)  # a model this small is slower on two
    network = Network.create(config.topology, config.backbone, rank=config.rank, seed=config.seed)
    assert network.adapters is not None
    optimizer = StackedAdam(network.adapters, config.learning_rate)
    Q, G, N = config.questions, config.samples, network.topology.num_nodes
    batch = neuromas_env.vector_env(config.task, config.topology, Q * G, split="train")
    history: list[float] = []
    print(f"untrained: {judge(network, config):.3f}")

    for update in range(config.updates):
        # ---- roll out: G episodes of each of Q questions; one step is one layer of all episodes, sampled at once
        first = config.seed * 1_000_000 + update * Q
        batch.reset(questions=[first + q for q in range(Q) for _ in range(G)])
        turns = []
        while not batch.done:
            requests = batch.requests()
            messages = network.sample(requests, temperature=1.0, seed=update * 1000 + requests[0].step)
            batch.step(messages)
            turns += zip(requests, messages, strict=True)

        # ---- credit: every node of an episode gets the same advantage
        rewards_E = batch.rewards_E
        advantages_E = (rewards_E - rewards_E.mean()) / max(rewards_E.std(), 1e-8)
        history.append(float(rewards_E.mean()))

        # ---- learn: one backward pass for all nodes; a node's gradient is the mean over its own tokens
        node_M = np.array([network.topology.index(request.agent) for request, _ in turns])
        tokens_M = np.array([message.sampled_tokens for _, message in turns])
        tokens_N = np.bincount(node_M, weights=tokens_M, minlength=N)
        weights_M = np.array([advantages_E[request.episode] for request, _ in turns]) / tokens_N[node_M]
        samples = [
            TrainSample(int(node), request.episode // G, message.prompt_ids, message.token_ids)
            for node, (request, message) in zip(node_M, turns, strict=True)
        ]
        optimizer.zero_grad()
        for part in pack(samples, config.micro_batch_tokens):
            logprobs_MT, mask_MT, rows = network.logprobs(part, temperature=1.0)
            part_weights_M1 = torch.tensor(weights_M[rows], dtype=logprobs_MT.dtype)[:, None].to(logprobs_MT.device)
            (-(part_weights_M1 * logprobs_MT * mask_MT).sum()).backward()
        optimizer.learning_rate = config.learning_rate * (1 - update / config.updates)
        norms_N = optimizer.step(max_norm=config.clip)

        norms = " ".join(f"{norm:.2f}" for norm in norms_N.tolist())
        print(f"update {update + 1}: reward {history[-1]:.3f}, tokens {tokens_M.sum():,}, gradient norms {norms}")

    print(f"trained: {judge(network, config):.3f}")
    network.save(f"runs/train_loop-seed{config.seed}")
    return history


if __name__ == "__main__":
    main(tyro.cli(Config))
