"""What a call costs in networks of 1 to 31 nodes: one whole update (rollout, backward pass, optimizer step), measured.

    python tests/benchmarks/network_size.py [--model t1|nano] [--repeats 5] [--topologies 1 1-1-1 2-2-2-1 …]

The work is the same at every node: 8 questions, 8 samples of each, so that a network of N nodes makes 64 N calls an
update. `t1` is the random model of the yardsticks (algorithms/bench/work.py) on a task of prompts of 48 tokens and
messages of 16; `nano` is the embedded backbone on the task `chain`.

A call of a large network is not the call of one node: what a node hears makes its prompt longer, and differs between
samples, so that it is not shared among them. Time a call therefore grows with the messages heard, on any engine. So
three ratios are given, each to be read beside the others:

    same calls   the network's update over that of one node (one adapter) which is given the very same prompts, packed
                 in the very same way. What is left is the price of having N adapters. This is the criterion.
    per token    time a token, prompts and messages, over that of the topology "1". Tokens are counted as the engine
                 packs them: what the samples of a question share at a node, once.
    per call     time a call, over that of the topology "1": what a user pays, longer prompts and all.

Times are seconds of the processor in one thread, not of the clock. Topologies are interleaved in one process, and the
ratios are medians of neighbouring measurements, for machines are shared and drift. The learning rate is 0: all the work
is done, and every repeat does the same. Memory is measured in a fresh process for each topology: its highest resident
size during two updates, less what it held once the backbone was loaded; beside it the bytes of adapters, gradients,
optimizer and merged weights. Micro-batches are of 4,096 tokens: larger ones are no faster on a CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from algorithms.algorithm import make_algorithm
from algorithms.backbone import Backbone, Route, load_backbone
from algorithms.bench.work import SHAPES, Work
from algorithms.learner import learn
from algorithms.network import Network
from algorithms.optimizer import StackedAdam
from algorithms.packing import pack
from algorithms.rollout import Rollout, roll_out
from algorithms.routing import Segment
from neuromas_env import Question, Task, Topology, make_task

WIDE = ("1-1-1", "2-2-2-1", "7-7-1/sparse2", "15-15-1/sparse2")
DEEP = tuple("-".join(["1"] * nodes) for nodes in (7, 15, 31))
FULL = ("7-7-1",)  # 15-15-1, where each node hears fifteen messages, takes minutes
QUESTIONS, SAMPLES, MICRO_BATCH_TOKENS = 8, 8, 4096
T1 = Work("t1")
PLAIN = "{% for message in messages %}{% if message['role'] == 'user' %}{{ message['content'] }}{% endif %}{% endfor %}"


class Words(Task):
    """Questions of random words of the tokenizer of engine_speed.py: with the position, prompts of 48 tokens."""

    name = "words"
    max_message_tokens = T1.new

    def size(self, split: str) -> int | None:
        return None

    def question(self, split: str, index: int) -> Question:
        words = np.random.default_rng(index).integers(3, SHAPES[T1.shape].vocabulary, T1.prompt - 4)
        return Question(f"words/{split}/{index}", " ".join(f"w{word}" for word in words), "w3")

    def parse(self, question: Question, text: str, *, strict: bool = True) -> str | None:
        return text or None


class OneAdapter(Network):
    """A network whose nodes all speak through one adapter: the one-node engine, given the calls of a larger one."""

    def route(self, segments: Sequence[Segment]) -> Route | None:
        return super().route([(0, 0, segments[-1][2])])


def load(model: str) -> tuple[Backbone, Task]:
    if model == "nano":
        return load_backbone("nano"), make_task("chain")
    tokenizer = T1.tokenizer()
    tokenizer.chat_template = PLAIN
    return Backbone.wrap(T1.model(), tokenizer, "t1"), Words()


@dataclass(frozen=True)
class Times:
    """The seconds of one update, and what it did."""

    sample: float
    learn: float
    calls: int
    sampled_tokens: int

    @property
    def total(self) -> float:
        return self.sample + self.learn


class Update:
    """Whole updates of one network; with `one_adapter`, of one node that is given the calls of that network."""

    def __init__(
        self, topology: str, backbone: Backbone, task: Task, questions: int = QUESTIONS, one_adapter: bool = False
    ) -> None:
        self.task, self.questions, self.one_adapter = task, questions, one_adapter
        self.network = learner = Network.create("1" if one_adapter else topology, backbone)
        if one_adapter:
            self.network = OneAdapter(Topology.parse(topology), backbone, learner.adapters)
        assert learner.adapters is not None
        self.learner, self.optimizer = learner, StackedAdam(learner.adapters, 0.0)
        rng = np.random.default_rng(0)
        size = questions, SAMPLES
        self.advantages_QG = rng.choice([-1.0, 1.0], size) * rng.uniform(0.5, 1.5, size)

    def sample(self) -> Rollout:
        questions = [self.task.question("train", index) for index in range(self.questions)]
        rollout = roll_out(self.network, self.task, questions, SAMPLES, temperature=1.0, seed=0)
        return one_node(rollout) if self.one_adapter else rollout

    def learn(self, rollout: Rollout) -> None:
        learn(
            self.learner,
            self.optimizer,
            make_algorithm("reinforce", {}),
            rollout,
            self.advantages_QG,
            learning_rate=0.0,
            temperature=1.0,
            clip=1.0,
            micro_batch_tokens=MICRO_BATCH_TOKENS,
        )

    def run(self) -> Times:
        started = time.process_time()
        rollout = self.sample()
        sampled = time.process_time()
        self.learn(rollout)
        seconds = sampled - started, time.process_time() - sampled
        return Times(*seconds, len(rollout.samples), sum(len(sample.completion_ids) for sample in rollout.samples))


def one_node(rollout: Rollout) -> Rollout:
    """The rollout as if one node had made all calls; what shared a prefix still does."""
    samples = [replace(sample, node=0, group=(sample.node, sample.group)) for sample in rollout.samples]
    return replace(rollout, samples=samples, node_M=np.zeros_like(rollout.node_M))


def tokens_of(rollout: Rollout) -> dict[str, int]:
    """Tokens of one update: of all prompts and messages as they are, and as they go through the backbone."""
    packed = sum(len(part.packed.input_ids_L) for part in pack(rollout.samples, MICRO_BATCH_TOKENS))
    sampled = sum(len(sample.completion_ids) for sample in rollout.samples)
    prompts = sum(len(sample.prompt_ids) for sample in rollout.samples)
    return {"calls": len(rollout.samples), "unshared": prompts + sampled, "packed": packed}


# ---------------------------------------------------------------------- time


def measure(model: str, topologies: Sequence[str], repeats: int, questions: int = QUESTIONS) -> list[dict[str, Any]]:
    """One row a topology. The first update of each is warm-up."""
    backbone, task = load(model)
    single = Update("1", backbone, task, questions)
    single_tokens = tokens_of(single.sample())
    rows = []
    updates = {
        name: (Update(name, backbone, task, questions), Update(name, backbone, task, questions, one_adapter=True))
        for name in topologies
    }
    work = {name: tokens_of(update.sample()) for name, (update, _) in updates.items()}
    seen: dict[str, list[tuple[Times, Times, Times]]] = {name: [] for name in topologies}
    for repeat in range(repeats + 1):
        for name, (network, control) in updates.items():
            # What comes first alternates: a neighbour's load that rises or falls is not always on one side.
            first, second = (network, control) if repeat % 2 else (control, network)
            base = sorted((single.run() for _ in range(5)), key=lambda times: times.total)[2]  # short, so noisy
            a, b = first.run(), second.run()
            if repeat:
                seen[name].append((base, a, b) if repeat % 2 else (base, b, a))
    for name, times in seen.items():
        calls, packed = work[name]["calls"], work[name]["packed"]
        fewer = calls / single_tokens["calls"], packed / single_tokens["packed"]
        middle = statistics.median
        rows.append(
            {
                "topology": short(name),
                "nodes": Topology.parse(name).num_nodes,
                **work[name],
                "ms_per_call": 1e3 * middle(t.total for _, t, _ in times) / calls,
                "ms_per_1000_tokens": 1e6 * middle(t.total for _, t, _ in times) / packed,
                "same_calls": middle(t.total / c.total for _, t, c in times),
                "same_calls_sampling": middle(t.sample / c.sample for _, t, c in times),
                "same_calls_learning": middle(t.learn / c.learn for _, t, c in times),
                "per_token": middle(t.total / one.total for one, t, _ in times) / fewer[1],
                "per_call": middle(t.total / one.total for one, t, _ in times) / fewer[0],
            }
        )
    return rows


def short(topology: str) -> str:
    nodes = topology.count("-") + 1
    return topology if nodes < 7 else f"1-1-…-1 ({nodes})"


# ---------------------------------------------------------------------- memory


def resident(what: str) -> int:
    """A size of this process in bytes: VmRSS, or VmHWM, the highest since the last `forget`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) * 1024
    raise OSError(f"this system does not tell {what}")


def tensor_bytes(update: Update) -> dict[str, int]:
    """The bytes that stay between updates: adapters with gradients, Adam's moments, merged weights."""
    adapters, optimizer = update.network.adapters, update.optimizer
    assert adapters is not None
    merged = [weights for group in adapters.groups for weights in group.merged]
    parts = {
        "adapters": [adapters.flat_NP, adapters.grad_NP],
        "optimizer": [optimizer.mean_NP, optimizer.square_NP],
        "merged": merged,
    }
    return {name: sum(x.numel() * x.element_size() for x in tensors) for name, tensors in parts.items()}


def peak(model: str, topology: str, questions: int = QUESTIONS) -> dict[str, Any]:
    """Of this process, which should be fresh: what two updates of `topology` take beyond the loaded backbone."""
    backbone, task = load(model)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of loading
    update = Update(topology, backbone, task, questions)
    update.run()
    calls = update.run().calls
    return {"calls": calls, "peak": resident("VmHWM") - before, **tensor_bytes(update)}


def measure_memory(model: str, topologies: Sequence[str], questions: int = QUESTIONS) -> list[dict[str, Any]]:
    """`peak` of each topology, in a process of its own."""
    here = Path(__file__).resolve()
    paths = os.pathsep.join([str(here.parent), str(here.parents[2])])
    rows = []
    for topology in topologies:
        command = [sys.executable, str(here), "--model", model, "--questions", str(questions), "--peak", topology]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
        if result.returncode:
            raise RuntimeError(result.stderr)
        row = json.loads(result.stdout.splitlines()[-1])
        nodes = Topology.parse(topology).num_nodes
        rows.append({"topology": short(topology), "nodes": nodes, **row, "peak_per_call": row["peak"] // row["calls"]})
    for row in rows:
        row["per_call"] = row["peak_per_call"] / rows[0]["peak_per_call"]
    return rows


# ---------------------------------------------------------------------- as a script


def table(rows: Sequence[dict[str, Any]]) -> str:
    def cell(name: str, value: Any) -> str:
        if name in ("peak", "adapters", "optimizer", "merged"):
            return f"{value / 2**20:.1f} MB"
        return f"{value:.2f}" if isinstance(value, float) else str(value)

    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return "\n".join(lines + ["| " + " | ".join(cell(name, row[name]) for name in names) + " |" for row in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=("t1", "nano"), default="t1")
    parser.add_argument("--topologies", nargs="+", default=["1", *WIDE, *DEEP, *FULL])
    parser.add_argument("--questions", type=int, default=QUESTIONS)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peak", metavar="TOPOLOGY", help="only the memory of this topology, as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.peak:
        print(json.dumps(peak(options.model, options.peak, options.questions)))
        return
    print(table(measure(options.model, options.topologies, options.repeats, options.questions)), flush=True)
    print()
    print(table(measure_memory(options.model, options.topologies, options.questions)))


if __name__ == "__main__":
    main()
