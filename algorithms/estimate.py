"""What a training run will take, before it starts: its size, calls, tokens, memory and time.

    print(estimate(TrainConfig("chain", topology="2-2-1")))

One small update is played in memory and measured: some questions with all their samples, credit assignment, a training
pass over every message, and some questions of the validation. Nothing is stepped and nothing is written. Calls and
parameters are exact (extra calls of credit assignment are scaled); tokens are those of an untrained network, whose
messages may be longer or shorter than those of a trained one; time is that of this machine as it is now, without that
of the optimizer's step and of what an algorithm trains beside the network (a critic).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from neuromas_env.budget import Meter
from neuromas_env.episodes import run_episodes
from neuromas_env.errors import UsageError
from neuromas_env.task import Task

from .algorithm import Algorithm, make_algorithm
from .backbone import Backbone
from .config import TrainConfig
from .credit import Credit
from .experience import credited, play
from .memory import free_memory, kept_for_backward
from .network import Network
from .packing import MicroBatch, TrainSample, pack
from .resolve import checked, longest_message, make_network
from .rollout import Rollout, calls_of, leaves_of
from .sampling import chunk_limit
from .validation import GreedyPolicy, validation_size

LARGEST = {"cpu": 4096, "cuda": 16384}  # more tokens at once only cost memory; on a CPU they also leave its caches
PROBE_TOKENS = 2048  # of the pass that is measured
# What a pass takes of a CPU's memory over what it keeps: gradients in flight and gaps of the allocator. Measured: 1.5
# to 1.75, and 2.2 to 2.5 where activations are recomputed, so that half of the free memory is never all of it.
RESIDENT = 1.5
MEASURED_SECONDS = 1.0  # a part of an update that takes so long is not measured again on more questions


# ---------------------------------------------------------------------- micro-batches


def bytes_per_token(network: Network, samples: Sequence[TrainSample], temperature: float = 1.0) -> float:
    """The activation memory, in bytes, that a training pass needs for each of its flat tokens.

    Measured on one micro-batch of `samples`, the logits of their tokens included: on a GPU by the allocator's peak,
    else by what autograd keeps, each storage once, times `RESIDENT`. Gradients are zero afterwards.
    """
    adapters = network.adapters
    if adapters is None:
        raise UsageError("a network without adapters (rank 0) has nothing to train")
    part = max(pack(samples, PROBE_TOKENS), key=_tokens)
    device = network.backbone.device
    _pass(network, part, temperature)  # makes what stays: merged weights, workspaces
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        _pass(network, part, temperature)
        return float(torch.cuda.max_memory_allocated(device) - before) / _tokens(part)
    merged = [weights for group in adapters.groups for weights in group.merged]
    known = [*network.backbone.model.parameters(), *network.backbone.model.buffers(), adapters.flat_NP, *merged]
    with kept_for_backward(known) as kept:
        _pass(network, part, temperature)
    return RESIDENT * kept.most / _tokens(part)


def find_micro_batch_tokens(
    network: Network, samples: Sequence[TrainSample], limit_bytes: int | None = None, whole: bool = False
) -> int:
    """How many flat tokens of prompts and messages like `samples` should go through the backbone at once in training.

    As many as fit into `limit_bytes` (without it, half of what is free), rounded down to a power of two; as many as
    the samples of one question at one node take, where these fit or are asked for (`whole`); no more than bring
    anything (`LARGEST`), but always at least the longest sample.
    """
    device = network.backbone.device
    if limit_bytes is None:
        limit_bytes = free_memory(device) // 2
    fitting = int(limit_bytes / bytes_per_token(network, samples))
    block = max(map(_tokens, pack(samples, 1, whole=True)))
    longest = max(len(sample.prompt_ids) + len(sample.completion_ids) for sample in samples)
    power = 1 << max(0, fitting.bit_length() - 1)
    largest = LARGEST.get(device.type, LARGEST["cuda"])
    return max(min(power, largest), longest, block if whole or block <= fitting else 0)


def _tokens(part: MicroBatch) -> int:
    return len(part.packed.input_ids_L)


def _pass(network: Network, part: MicroBatch, temperature: float) -> None:
    """One training pass whose gradients are thrown away."""
    assert network.adapters is not None
    try:
        logprobs_MT, mask_MT, _ = network.logprobs(part, temperature)
        (logprobs_MT * mask_MT).sum().backward()
    finally:
        network.adapters.zero_grad()


# ---------------------------------------------------------------------- a whole run


@dataclass(frozen=True)
class Estimate:
    """What a run will take. Tokens and seconds are those of one update, unless a name says otherwise.

    `credit_calls` are extra calls of credit assignment, counted in `calls`. `memory` holds bytes: of the frozen
    `backbone`; of `adapters` with gradients and optimizer; of the `merged` copies of weights; of the activations of a
    `training` pass of `pass_tokens`, the flat tokens of an update or as many as `micro_batch_tokens` allows; and of the
    keys, values and passing tensors of `sampling`. What the program itself takes is not among them.
    `validation_seconds` are those of all validations. `measured` of `questions` questions were played.
    """

    title: str
    device: str
    nodes: int
    parameters_per_node: int
    parameters: int
    extra_parameters: int
    frozen_parameters: int
    updates: int
    calls: int
    credit_calls: int
    prompt_tokens: int
    sampled_tokens: int
    micro_batch_tokens: int
    pass_tokens: int
    memory: dict[str, int]
    sample_seconds: float
    credit_seconds: float
    learn_seconds: float
    validations: int
    validation_questions: int
    validation_seconds: float
    measured: int
    questions: int

    @property
    def update_seconds(self) -> float:
        return self.sample_seconds + self.credit_seconds + self.learn_seconds

    @property
    def seconds(self) -> float:
        """Of the whole run, validations included."""
        return self.updates * self.update_seconds + self.validation_seconds

    @property
    def peak_bytes(self) -> int:
        """On a CPU, what sampling has freed is kept by the process beside what training takes (`keep_freed_memory`); a
        GPU's memory serves one after the other."""
        memory = self.memory
        steady = memory["backbone"] + memory["adapters"] + memory["merged"]
        passing = memory["training"], memory["sampling"]
        return steady + (sum(passing) if self.device == "cpu" else max(passing))

    def lines(self) -> list[str]:
        memory = {name: _bytes(size) for name, size in self.memory.items()}
        extra = f", and {self.extra_parameters:,} beside the network" if self.extra_parameters else ""
        credit = f" ({self.credit_calls:,} of them for credit)" if self.credit_calls else ""
        parts = f"sampling {_duration(self.sample_seconds)}, learning {_duration(self.learn_seconds)}"
        if self.credit_seconds:
            parts = f"{parts}, credit {_duration(self.credit_seconds)}"
        return [
            self.title,
            f"  trained       {self.parameters:,} parameters: {self.nodes} x {self.parameters_per_node:,}{extra} "
            f"(frozen: {self.frozen_parameters:,})",
            f"  an update     {self.calls:,} calls{credit}, {self.prompt_tokens:,} prompt and {self.sampled_tokens:,} "
            f"sampled tokens, {_duration(self.update_seconds)} ({parts})",
            f"  validation    {self.validations} x {self.validation_questions} questions, "
            f"{_duration(self.validation_seconds)} in all",
            f"  the run       {self.updates} updates, {self.updates * self.calls:,} calls, "
            f"{self.updates * self.prompt_tokens:,} prompt and {self.updates * self.sampled_tokens:,} sampled tokens, "
            f"{_duration(self.seconds)}",
            f"  memory        {_bytes(self.peak_bytes)}: backbone {memory['backbone']}, adapters and optimizer "
            f"{memory['adapters']}, merged weights {memory['merged']}, then a training pass of "
            f"{self.pass_tokens:,} tokens {memory['training']}, sampling {memory['sampling']}",
            f"  measured on {self.measured} of {self.questions} questions, every message trained on; nothing was kept",
        ]

    def __str__(self) -> str:
        return "\n".join(self.lines())


def estimate(
    config: TrainConfig,
    *,
    task: Task | None = None,
    backbone: Backbone | None = None,
    algorithm: Algorithm | None = None,
) -> Estimate:
    """Measure what `train(config)` will take. It checks what `train` checks, and raises what that raises.

    `task`, `backbone` and `algorithm` replace what `config` would make. With a curriculum the first level is measured.
    """
    algorithm = make_algorithm(config.algorithm, config.options) if algorithm is None else algorithm
    task = config.make_task() if task is None else task
    levels, credit = checked(config, task, algorithm)
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    network = None
    try:
        network = make_network(config, backbone)
        network.backbone.checkpoint_activations(config.checkpoint_activations)
        algorithm.bind(network, seed=config.seed, learning_rate=config.learning_rate)
        return _Measurement(config, task, next(iter(levels.values()), task), network, algorithm, credit).estimate()
    finally:
        if network is not None:
            network.backbone.checkpoint_activations(False)
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class _Played:
    """A part of an update: its rollout, what it spent (that of the rollout alone first), and the seconds it took."""

    rollout: Rollout
    alone: Meter
    meter: Meter
    sample_seconds: float
    credit_seconds: float


@dataclass(frozen=True)
class _Measurement:
    """One run to be measured: validation on `task`, training on `trained` (the first level of a curriculum)."""

    config: TrainConfig
    task: Task
    trained: Task
    network: Network
    algorithm: Algorithm
    credit: Credit

    def estimate(self) -> Estimate:
        config, network = self.config, self.network
        adapters = network.adapters
        if adapters is None:
            raise UsageError("a network without adapters (rank 0) has nothing to train")
        played, measured = self._largest_part()
        scale = config.questions / measured
        rollout = played.rollout
        tokens = config.micro_batch_tokens or find_micro_batch_tokens(
            network, rollout.samples, whole=self.algorithm.whole_questions
        )
        parts = pack(rollout.samples, tokens, whole=self.algorithm.whole_questions)
        started = time.perf_counter()
        for part in parts:
            _pass(network, part, config.temperature)
        learn_seconds = time.perf_counter() - started
        flat = min(tokens, round(scale * sum(map(_tokens, parts))))  # an update may be smaller than a micro-batch
        per_token = bytes_per_token(network, rollout.samples, config.temperature)
        row_bytes = adapters.flat_NP.numel() * adapters.flat_NP.element_size()
        merged = [weights for group in adapters.groups for weights in group.merged]
        memory = {
            "backbone": _size([*network.backbone.model.parameters(), *network.backbone.model.buffers()]),
            # Values, gradients and two moments; several steps on a batch keep a copy to go back to.
            "adapters": row_bytes * (4 if config.epochs == 1 else 7),
            "merged": _size(merged),
            "training": round(flat * per_token),
            "sampling": self._sampling_bytes(rollout, scale),
        }
        # The calls of the rollout are known exactly; what credit asks for beside them depends on what was said.
        leaves_S = self._leaves()
        calls = sum(config.questions * config.samples // leaves_S[step] for step, _ in calls_of(network.topology))
        credit_calls = round(scale * (played.meter.calls - played.alone.calls))
        sampled_tokens = round(scale * played.meter.sampled_tokens)
        updates = config.updates
        if config.token_budget is not None:
            updates = -(-config.token_budget // max(1, sampled_tokens))
        questions = validation_size(self.task, config.validation_questions)
        validations = 1 + -(-updates // config.validation_every) if questions else 0
        return Estimate(
            title=f"{self.task.id} by {network.topology}, {config.algorithm}, backbone {network.backbone.name} on "
            f"{network.backbone.device.type}",
            device=network.backbone.device.type,
            nodes=adapters.num_nodes,
            parameters_per_node=adapters.parameters_per_node,
            parameters=network.trainable_parameters,
            extra_parameters=self.algorithm.extra_parameters,
            frozen_parameters=sum(parameter.numel() for parameter in network.backbone.model.parameters()),
            updates=updates,
            calls=calls + credit_calls,
            credit_calls=credit_calls,
            prompt_tokens=round(scale * played.meter.prompt_tokens),
            sampled_tokens=sampled_tokens,
            micro_batch_tokens=tokens,
            pass_tokens=flat,
            memory=memory,
            sample_seconds=scale * played.sample_seconds,
            credit_seconds=scale * played.credit_seconds if credit_calls else 0.0,
            learn_seconds=scale * learn_seconds * config.epochs,
            validations=validations,
            validation_questions=questions,
            validation_seconds=validations * self._validation_seconds(questions),
            measured=measured,
            questions=config.questions,
        )

    def _largest_part(self) -> tuple[_Played, int]:
        """More and more questions are played, until they are all or take long enough: larger batches are faster."""
        questions = 1
        self._play(1)  # warm-up
        while True:
            started = time.perf_counter()
            played = self._play(questions)
            if questions == self.config.questions or time.perf_counter() - started > MEASURED_SECONDS:
                return played, questions
            questions = min(4 * questions, self.config.questions)

    def _play(self, count: int) -> _Played:
        """The first `count` questions of the first update."""
        config, network = self.config, self.network
        meter = Meter()
        started = time.perf_counter()
        rollout = play(config, network, self.trained, self.credit, 1, meter, questions=count)
        sampled, alone = time.perf_counter(), replace(meter)
        credited(config, network, self.trained, self.credit, 1, rollout, rollout.rewards_QG, meter)
        return _Played(rollout, alone, meter, sampled - started, time.perf_counter() - sampled)

    def _leaves(self) -> list[int]:
        topology = self.network.topology
        branching = self.credit.tree(self.config.samples, topology)
        return [1] * topology.horizon if branching is None else leaves_of(branching, self.config.samples, topology)

    def _sampling_bytes(self, rollout: Rollout, scale: float) -> int:
        """Of the step that takes most: keys and values, as far as they are held at once, and with them the activations
        of a layer over the prompts, or the distributions that tokens are drawn from, whichever is more."""
        backbone, most = self.network.backbone, 0.0
        config = backbone.model.config.get_text_config()
        a_token = backbone.dtype.itemsize * (6 * config.hidden_size + 3 * config.intermediate_size)
        a_row = config.vocab_size * 32  # the logits and their softmax in single, three more steps in double precision
        step_M = np.array([turn.request.step for turn in rollout.turns])
        longest = longest_message(self.config, self.trained)
        for step in range(rollout.topology.horizon):
            samples = [rollout.samples[row] for row in np.flatnonzero(step_M == step)]
            prompts = sum(map(_tokens, pack(samples))) - sum(len(sample.completion_ids) for sample in samples)
            held = scale * (prompts + longest * len(samples))
            share = min(1.0, chunk_limit(backbone) / held)
            passing = max(scale * prompts * a_token, scale * len(samples) * a_row)
            most = max(most, share * (held * backbone.cache_bytes + passing))
        return round(most)

    def _validation_seconds(self, questions: int) -> float:
        """Of one validation."""
        if not questions:
            return 0.0
        policy = GreedyPolicy(self.network, self.config.max_tokens)
        instructions = self.config.instructions
        count = min(8, questions)
        while True:
            started = time.perf_counter()
            run_episodes(
                self.task, self.network.topology, policy, range(count), split="validation", instructions=instructions
            )
            seconds = time.perf_counter() - started
            if count == questions or seconds > MEASURED_SECONDS:
                return seconds * questions / count
            count = min(4 * count, questions)


def _size(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _bytes(size: int) -> str:
    value, units = float(size), ["bytes", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.0f} {units[0]}" if value >= 10 or units[0] == "bytes" else f"{value:.1f} {units[0]}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
