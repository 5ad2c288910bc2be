"""Gradient steps of all adapters from one batch of experience: one, or several where the algorithm takes them.

Every sample with an advantage goes through the shared backbone once, in packed micro-batches; the gradients of all
nodes come out of the same backward passes, and each node's gradient is clipped and stepped on its own. Later steps on a
batch compare with the log-probabilities that its sampler wrote down.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from neuromas_env.errors import NeuromasError

from .algorithm import Algorithm, FloatArray
from .packing import pack
from .rollout import Rollout

if TYPE_CHECKING:
    from .network import Network
    from .optimizer import StackedAdam


class NotFiniteError(NeuromasError):
    """A loss or a gradient is infinite or not a number; nothing was stepped."""


@dataclass(frozen=True)
class StepReport:
    """What the gradient steps on one batch saw. `loss`: summed over nodes; `trained`: samples that had an advantage.

    `gradient_norm_N`: each node's norm before clipping, 0 where a node had nothing to learn from. `mismatch`: the
    mean absolute difference between the log-probabilities of sampler and trainer, over trained tokens; it is near 0
    as long as both run the same policy. Of several steps, all these are the first one's. `statistics`: the
    algorithm's own columns by node, for nodes that had something to learn from; of several steps, the last one's.
    """

    loss: float
    trained: int
    gradient_norm_N: FloatArray
    mismatch: float
    statistics: dict[str, dict[str, float]]


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
    advantages_QG: FloatArray,
    *,
    temperature: float,
    micro_batch_tokens: int,
    mask_truncated: bool = False,
) -> BackwardReport:
    """Add the gradients of the batch to the adapters.

    Samples without advantage are left out of the passes but not out of the denominators (unless the algorithm does
    not count them): their terms are zero, so the gradient is that of the whole batch. `mask_truncated` leaves cut
    samples out of both.
    """
    counted_M = algorithm.counted(advantages_QG).reshape(-1)[rollout.episode_M]
    if mask_truncated:
        counted_M = counted_M & ~rollout.truncated_M
    tokens_M = np.array([len(sample.completion_ids) for sample in rollout.samples], dtype=np.float64)
    N = network.topology.num_nodes

    def sum_by_node(rows: np.ndarray, values_M: FloatArray) -> FloatArray:
        return np.bincount(rollout.node_M[rows], weights=values_M, minlength=N).astype(np.float64)

    counted = np.flatnonzero(counted_M)
    denominators_N = algorithm.denominators(
        sum_by_node(counted, tokens_M[counted]), sum_by_node(counted, np.ones(len(counted)))
    )
    advantages_M = advantages_QG.reshape(-1)[rollout.episode_M]
    trained = np.flatnonzero(counted_M & (advantages_M != 0.0))
    total, gap, tokens = 0.0, 0.0, 0.0
    sums_N: dict[str, FloatArray] = {}
    for part in pack([rollout.samples[index] for index in trained], micro_batch_tokens):
        logprobs_MT, mask_MT, order = network.logprobs(part, temperature)
        rows = trained[np.asarray(order, dtype=np.int64)]
        sampled_MT = np.zeros(logprobs_MT.shape, dtype=np.float32)
        for place, row in enumerate(rows):
            sampled = rollout.turns[row].message.logprobs
            sampled_MT[place, : len(sampled)] = sampled
        old_logprobs_MT = torch.from_numpy(sampled_MT).to(logprobs_MT)
        part_advantages_M = torch.tensor(advantages_M[rows], dtype=logprobs_MT.dtype, device=logprobs_MT.device)
        loss = algorithm.loss(
            logprobs_MT,
            old_logprobs_MT,
            mask_MT,
            part_advantages_M,
            torch.tensor(denominators_N[rollout.node_M[rows]], dtype=logprobs_MT.dtype, device=logprobs_MT.device),
        )
        loss.backward()
        total += loss.item()
        gap += float(((logprobs_MT.detach() - old_logprobs_MT).abs() * mask_MT).sum())
        tokens += float(mask_MT.sum())
        columns = algorithm.statistics(logprobs_MT.detach(), old_logprobs_MT, mask_MT, part_advantages_M)
        for name, values_MT in columns.items():
            values_M = (values_MT * mask_MT).sum(1).double().cpu().numpy()
            sums_N[name] = sums_N.get(name, np.zeros(N)) + sum_by_node(rows, values_M)
    trained_tokens_N = np.maximum(1.0, sum_by_node(trained, tokens_M[trained]))
    statistics_N = {name: values_N / trained_tokens_N for name, values_N in sums_N.items()}
    return BackwardReport(total, trained, gap / tokens if tokens else 0.0, statistics_N)


def learn(
    network: Network,
    optimizer: StackedAdam,
    algorithm: Algorithm,
    rollout: Rollout,
    advantages_QG: FloatArray,
    *,
    learning_rate: float,
    temperature: float,
    clip: float,
    micro_batch_tokens: int,
    mask_truncated: bool = False,
    epochs: int = 1,
) -> StepReport:
    """`epochs` steps on the whole batch; nodes without a trained sample are not touched.

    Raises NotFiniteError with adapters and optimizer as they were before the batch.
    """
    adapters = optimizer.adapters
    before = (adapters.flat_NP.detach().clone(), optimizer.state_dict()) if epochs > 1 else None
    reports: list[StepReport] = []
    try:
        for _ in range(epochs):
            optimizer.zero_grad()
            seen = backward(
                network,
                algorithm,
                rollout,
                advantages_QG,
                temperature=temperature,
                micro_batch_tokens=micro_batch_tokens,
                mask_truncated=mask_truncated,
            )
            reports.append(_step(network, optimizer, rollout, seen, learning_rate=learning_rate, clip=clip))
    except NotFiniteError:
        if before is not None:
            with torch.no_grad():
                adapters.flat_NP.copy_(before[0])
            optimizer.load_state_dict(before[1])
        raise
    return replace(reports[0], statistics=reports[-1].statistics)


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
