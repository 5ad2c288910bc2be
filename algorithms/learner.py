"""Gradient steps of all adapters from one batch of experience: one, or several where the algorithm takes them.

Every sample with an advantage goes through the shared backbone once, in packed micro-batches; the gradients of all
nodes come out of the same backward passes, and each node's gradient is clipped and stepped on its own. Later steps on a
batch compare with the log-probabilities that its sampler wrote down.

Three additions are off by default, and the same for all algorithms. With m the mask of sampled tokens, H the entropy of
the distribution a token was drawn from, d = log π_backbone - log π and D_n the tokens of node n,

    L_n = L_n - entropy_bonus / D_n · Σ m H + kl / D_n · Σ m (e^d - d - 1)

(the second is Schulman's estimator k3; the backbone is that of the network with its adapters off). `truncate` is for
a sampler that computes other log-probabilities than the trainer (another engine, half precision): each token's gradient
is weighted by min(π_trainer / π_sampler, truncate), with π_trainer as it was before the batch's first step, and ratios
start from there (truncated importance sampling).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .algorithm import Algorithm, FloatArray, Minibatch
from .distributed import Team
from .errors import NotFiniteError
from .packing import MicroBatch, pack
from .rollout import Rollout

if TYPE_CHECKING:
    from .network import Network
    from .optimizer import StackedAdam


ALONE = Team()


@dataclass(frozen=True)
class Additions:
    """What is added to every algorithm's loss (see the module); 0 leaves each away."""

    entropy_bonus: float = 0.0
    kl: float = 0.0
    truncate: float = 0.0


@dataclass(frozen=True)
class StepReport:
    """What the gradient steps on one batch saw. `loss`: summed over nodes; `trained`: samples that had an advantage.

    `gradient_norm_N`: each node's norm before clipping, 0 where a node had nothing to learn from. `mismatch`: the
    mean absolute difference between the log-probabilities of sampler and trainer, over trained tokens; it is near 0
    as long as both run the same policy. Of several steps, all these are the first one's. `statistics`: the
    algorithm's own columns by node, for nodes that had something to learn from; of several steps, the last one's.
    `fitted`: the columns of what the algorithm trains beside the network.
    """

    loss: float
    trained: int
    gradient_norm_N: FloatArray
    mismatch: float
    statistics: dict[str, dict[str, float]]
    fitted: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class BackwardReport:
    """What one pass over a batch saw; `trained` are sample indices, `statistics_N` means over each node's trained
    tokens (0 where it has none)."""

    loss: float
    trained: np.ndarray
    mismatch: float
    statistics_N: dict[str, FloatArray]


def backward(
    network: Network,
    algorithm: Algorithm,
    rollout: Rollout,
    advantages: FloatArray,
    *,
    temperature: float,
    micro_batch_tokens: int,
    mask_truncated: bool = False,
    additions: Additions = Additions(),
    before: dict[int, Tensor] | None = None,
    team: Team = ALONE,
) -> BackwardReport:
    """Add the gradients of the batch to the adapters.

    `advantages` are those of messages [Q, G, C] (see `Algorithm.assign`), or of episodes [Q, G]. Samples without
    advantage are left out of the passes but not out of the denominators (unless the algorithm does not count them):
    their terms are zero, so the gradient is that of the whole batch. `mask_truncated` leaves cut samples out of both.
    `before` keeps the log-probabilities of the first of several passes, by sample, where `additions` truncates. In a
    `team`, each process computes the part of its own questions, and the sum is everybody's.
    """
    N, tokens_M, before = network.topology.num_nodes, rollout.tokens_M, {} if before is None else before
    advantages_M, counted_M = _by_message(algorithm, rollout, advantages)
    if mask_truncated:
        counted_M &= ~rollout.truncated_M

    def sum_by_node(rows: np.ndarray, values_M: FloatArray) -> FloatArray:
        return np.bincount(rollout.node_M[rows], weights=values_M, minlength=N).astype(np.float64)

    counted = np.flatnonzero(counted_M)
    tokens_N = sum_by_node(counted, tokens_M[counted])
    denominators_N = algorithm.denominators(tokens_N, sum_by_node(counted, np.ones(len(counted))))
    everything = bool(additions.entropy_bonus or additions.kl)
    trained = counted if everything else np.flatnonzero(counted_M & (advantages_M != 0.0))
    total, gap, tokens = 0.0, 0.0, 0.0
    sums_N: dict[str, FloatArray] = {}
    own = trained[team.own(rollout.episode_M[trained] // rollout.rewards_QG.shape[1])]
    chosen = [rollout.samples[index] for index in own]
    for part in pack(chosen, micro_batch_tokens, whole=algorithm.whole_questions):
        logprobs_MT, entropy_MT, mask_MT, order = _forward(network, part, temperature, additions)
        rows = own[np.asarray(order, dtype=np.int64)]
        sampler_MT = _sampler_logprobs(rollout, rows, logprobs_MT)
        seen_MT = logprobs_MT.detach()
        old_MT, weighted_MT = sampler_MT, logprobs_MT
        if additions.truncate:
            old_MT = _logprobs_before(before, rows, seen_MT)
            weights_MT = (old_MT - sampler_MT).exp().clamp(max=additions.truncate)
            weighted_MT = weights_MT * logprobs_MT + (1.0 - weights_MT) * seen_MT  # the same value, a weighted gradient

        def like(values: np.ndarray, to: Tensor = logprobs_MT) -> Tensor:
            return torch.tensor(values, dtype=to.dtype, device=to.device)

        batch = Minibatch(
            weighted_MT,
            old_MT,
            mask_MT,
            like(advantages_M[rows]),
            like(denominators_N[rollout.node_M[rows]]),
            _contexts(rollout, rows) if algorithm.whole_questions else None,
        )
        loss = algorithm.loss(batch)
        columns = algorithm.statistics(replace(batch, logprobs_MT=seen_MT))
        per_token_M1 = like(1.0 / np.maximum(1.0, tokens_N)[rollout.node_M[rows]])[:, None]
        if entropy_MT is not None:
            loss = loss - additions.entropy_bonus * (per_token_M1 * mask_MT * entropy_MT).sum()
        if additions.kl:
            distance_MT = network.reference_logprobs(part, temperature) - logprobs_MT
            k3_MT = distance_MT.expm1() - distance_MT
            loss = loss + additions.kl * (per_token_M1 * mask_MT * k3_MT).sum()
            columns["backbone_kl"] = k3_MT.detach()
        loss.backward()
        total += loss.item()
        gap += float(((seen_MT - sampler_MT).abs() * mask_MT).sum())
        tokens += float(mask_MT.sum())
        for name, values_MT in columns.items():
            values_M = (values_MT * mask_MT).sum(1).double().cpu().numpy()
            sums_N[name] = sums_N.get(name, np.zeros(N)) + sum_by_node(rows, values_M)
    if team.size > 1:
        assert network.adapters is not None
        team.add(network.adapters.grad_NP)
        parts = team.gather(((total, gap, tokens), sums_N))
        total, gap, tokens = np.sum([numbers for numbers, _ in parts], axis=0).tolist()
        names = dict.fromkeys(name for _, sums in parts for name in sums)
        sums_N = {name: sum((sums.get(name, np.zeros(N)) for _, sums in parts), np.zeros(N)) for name in names}
    trained_tokens_N = np.maximum(1.0, sum_by_node(trained, tokens_M[trained]))
    statistics_N = {name: values_N / trained_tokens_N for name, values_N in sums_N.items()}
    return BackwardReport(total, trained, gap / tokens if tokens else 0.0, statistics_N)


def _by_message(
    algorithm: Algorithm, rollout: Rollout, advantages: FloatArray
) -> tuple[FloatArray, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """The advantage of every message [M], and whether it counts in the denominators."""
    if advantages.ndim == 2:
        advantages = np.repeat(advantages[..., None], len(rollout.leaves_C), axis=2)
    counted = np.stack([algorithm.counted(advantages[..., call]) for call in range(advantages.shape[2])], axis=2)
    return rollout.by_message(advantages), rollout.by_message(counted.astype(np.float64)) > 0.0


def _forward(
    network: Network, part: MicroBatch, temperature: float, additions: Additions
) -> tuple[Tensor, Tensor | None, Tensor, list[int]]:
    """Log-probabilities, entropy (where it is asked for), mask [M, T], and the samples' places."""
    if additions.entropy_bonus:
        return network.logprobs_and_entropy(part, temperature)
    logprobs_MT, mask_MT, order = network.logprobs(part, temperature)
    return logprobs_MT, None, mask_MT, order


def _sampler_logprobs(rollout: Rollout, rows: np.ndarray, like_MT: Tensor) -> Tensor:
    """The log-probabilities [M, T] that the sampler wrote down, 0 on padding."""
    sampled_MT = np.zeros(like_MT.shape, dtype=np.float32)
    for place, row in enumerate(rows):
        sampled = rollout.turns[row].message.logprobs
        sampled_MT[place, : len(sampled)] = sampled
    return torch.from_numpy(sampled_MT).to(like_MT)


def _logprobs_before(before: dict[int, Tensor], rows: np.ndarray, seen_MT: Tensor) -> Tensor:
    """What the trainer gave in the first pass over the batch [M, T]; this is that pass where nothing is kept yet."""
    old_MT = torch.zeros_like(seen_MT)
    for place, row in enumerate(rows.tolist()):
        kept_T = before.setdefault(row, seen_MT[place].clone())
        width = min(len(kept_T), old_MT.shape[1])
        old_MT[place, :width] = kept_T[:width]
    return old_MT


def _contexts(rollout: Rollout, rows: np.ndarray) -> Tensor:
    """A number [M] for each prompt of each node and question (a batch may hold one question twice)."""
    numbers: dict[Hashable, int] = {}
    return torch.tensor([numbers.setdefault(rollout.samples[row].context, len(numbers)) for row in rows])


def learn(
    network: Network,
    optimizer: StackedAdam,
    algorithm: Algorithm,
    rollout: Rollout,
    advantages: FloatArray,
    *,
    learning_rate: float,
    temperature: float,
    clip: float,
    micro_batch_tokens: int,
    mask_truncated: bool = False,
    epochs: int = 1,
    additions: Additions = Additions(),
    share: float = 1.0,
    team: Team = ALONE,
) -> StepReport:
    """`epochs` steps on the whole batch, then one of what the algorithm trains beside the network, at `share` of its
    own learning rate. Nodes without a trained sample are not touched.

    Raises NotFiniteError with everything as it was before the batch.
    """
    _check_sampled(network.topology.nodes, rollout)
    adapters, tensors = optimizer.adapters, algorithm.tensors()
    backup = (adapters.flat_NP.detach().clone(), optimizer.state_dict()) if epochs > 1 or tensors else None
    reports: list[StepReport] = []
    before: dict[int, Tensor] = {}
    try:
        for _ in range(epochs):
            optimizer.zero_grad()
            seen = backward(
                network,
                algorithm,
                rollout,
                advantages,
                temperature=temperature,
                micro_batch_tokens=micro_batch_tokens,
                mask_truncated=mask_truncated,
                additions=additions,
                before=before,
                team=team,
            )
            reports.append(_step(network, optimizer, rollout, seen, learning_rate=learning_rate, clip=clip))
        fitted = algorithm.fit(rollout, share=share, micro_batch_tokens=micro_batch_tokens)
    except NotFiniteError:
        if backup is not None:
            with torch.no_grad():
                adapters.flat_NP.copy_(backup[0])
            optimizer.load_state_dict(backup[1])
            algorithm.load_tensors(tensors)
        raise
    return replace(reports[0], statistics=reports[-1].statistics, fitted=fitted)


def _check_sampled(nodes: Sequence[str], rollout: Rollout) -> None:
    """Adapters that have run away may speak without a number that is one, and without a reward to learn from."""
    bad = [not math.isfinite(sum(turn.message.logprobs)) for turn in rollout.turns]
    if any(bad):
        names = [nodes[index] for index in np.unique(rollout.node_M[bad])]
        raise NotFiniteError(f"the log-probability of what {', '.join(names)} said is not finite")


def _step(
    network: Network,
    optimizer: StackedAdam,
    rollout: Rollout,
    seen: BackwardReport,
    *,
    learning_rate: float,
    clip: float,
) -> StepReport:
    """One step along the gradients of one pass. Raises NotFiniteError before anything moves."""
    nodes = network.topology.nodes
    active_N = np.bincount(rollout.node_M[seen.trained], minlength=len(nodes)) > 0
    norms_N = torch.linalg.vector_norm(optimizer.adapters.grad_NP, dim=1).double().cpu().numpy()
    bad = [node for node, norm in zip(nodes, norms_N, strict=True) if not np.isfinite(norm)]
    if bad or not np.isfinite(seen.loss):
        optimizer.zero_grad()
        what = f"the gradient of {', '.join(bad)}" if bad else "the loss"
        raise NotFiniteError(f"{what} is not finite")
    if active_N.any():
        optimizer.learning_rate = learning_rate
        optimizer.step(active_N.tolist(), max_norm=clip or None)
    statistics = {
        node: {name: float(values_N[index]) for name, values_N in seen.statistics_N.items()}
        for index, node in enumerate(nodes)
        if active_N[index]
    }
    return StepReport(seen.loss, len(seen.trained), np.where(active_N, norms_N, 0.0), seen.mismatch, statistics)
