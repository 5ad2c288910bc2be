"""One gradient step of all adapters from one batch of experience.

Every sample with an advantage goes through the shared backbone once, in packed micro-batches; the gradients of all
nodes come out of the same backward passes, and each node's gradient is clipped and stepped on its own.
"""

from __future__ import annotations

from dataclasses import dataclass
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
    """What one gradient step saw. `loss`: summed over nodes; `trained`: samples that had an advantage.

    `gradient_norm_N`: each node's norm before clipping, 0 where a node had nothing to learn from. `mismatch`: the
    mean absolute difference between the log-probabilities of sampler and trainer, over trained tokens; it is near 0
    as long as both run the same policy.
    """

    loss: float
    trained: int
    gradient_norm_N: FloatArray
    mismatch: float


def backward(
    network: Network,
    algorithm: Algorithm,
    rollout: Rollout,
    advantages_QG: FloatArray,
    *,
    temperature: float,
    micro_batch_tokens: int,
    mask_truncated: bool = False,
) -> tuple[float, np.ndarray, float]:
    """Add the gradients of the batch to the adapters: (loss, the trained sample indices, mismatch).

    Samples without advantage are left out of the passes but not out of the denominators: their terms are zero, so
    the gradient is that of the whole batch. `mask_truncated` leaves cut samples out of both.
    """
    counted_M = ~rollout.truncated_M if mask_truncated else np.ones(len(rollout.samples), dtype=bool)
    tokens_M = np.array([len(sample.completion_ids) for sample in rollout.samples], dtype=np.float64)
    N = network.topology.num_nodes
    denominators_N = algorithm.denominators(
        np.bincount(rollout.node_M[counted_M], weights=tokens_M[counted_M], minlength=N).astype(np.float64),
        np.bincount(rollout.node_M[counted_M], minlength=N).astype(np.float64),
    )
    advantages_M = advantages_QG.reshape(-1)[rollout.episode_M]
    trained = np.flatnonzero(counted_M & (advantages_M != 0.0))
    total, gap, tokens = 0.0, 0.0, 0.0
    for part in pack([rollout.samples[index] for index in trained], micro_batch_tokens):
        logprobs_MT, mask_MT, order = network.logprobs(part, temperature)
        rows = trained[np.asarray(order, dtype=np.int64)]
        sampled_MT = np.zeros(logprobs_MT.shape, dtype=np.float32)
        for place, row in enumerate(rows):
            sampled = rollout.turns[row].message.logprobs
            sampled_MT[place, : len(sampled)] = sampled
        old_logprobs_MT = torch.from_numpy(sampled_MT).to(logprobs_MT)
        loss = algorithm.loss(
            logprobs_MT,
            old_logprobs_MT,
            mask_MT,
            torch.tensor(advantages_M[rows], dtype=logprobs_MT.dtype, device=logprobs_MT.device),
            torch.tensor(denominators_N[rollout.node_M[rows]], dtype=logprobs_MT.dtype, device=logprobs_MT.device),
        )
        loss.backward()
        total += loss.item()
        gap += float(((logprobs_MT.detach() - old_logprobs_MT).abs() * mask_MT).sum())
        tokens += float(mask_MT.sum())
    return total, trained, gap / tokens if tokens else 0.0


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
) -> StepReport:
    """One step; nodes without a trained sample are not touched. Raises NotFiniteError before anything moves."""
    optimizer.zero_grad()
    loss, trained, mismatch = backward(
        network,
        algorithm,
        rollout,
        advantages_QG,
        temperature=temperature,
        micro_batch_tokens=micro_batch_tokens,
        mask_truncated=mask_truncated,
    )
    nodes = network.topology.nodes
    active_N = np.bincount(rollout.node_M[trained], minlength=len(nodes)) > 0
    norms_N = torch.linalg.vector_norm(optimizer.adapters.grad_NP, dim=1).double().cpu().numpy()
    bad = [node for node, norm in zip(nodes, norms_N, strict=True) if not np.isfinite(norm)]
    if bad or not np.isfinite(loss):
        optimizer.zero_grad()
        what = f"the gradient of {', '.join(bad)}" if bad else "the loss"
        raise NotFiniteError(f"{what} is not finite")
    if active_N.any():
        optimizer.learning_rate = learning_rate
        optimizer.step(active_N.tolist(), max_norm=clip or None)
    return StepReport(loss, len(trained), np.where(active_N, norms_N, 0.0), mismatch)
