"""How each node speaks, measured on the batch that it is trained on: the signs of a channel that dies or drifts."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from .rollout import Rollout
from .seeds import derive

SHUFFLES = 8


def node_statistics(rollout: Rollout, nodes: Sequence[str]) -> dict[str, dict[str, float]]:
    """The columns of each node, over its messages of the batch.

    `tokens`: mean length of a message, end token included; `empty`: share of messages without text; `truncated`:
    share cut at the limit; `entropy`: the mean of -log p of its tokens, an unbiased estimate (in nats a token) of
    the entropy of what it samples; `about_question` and `about_answer`: the information (in nats) that its message
    has on which question was asked, and on what the network answered, as `information` estimates it.
    """
    samples = rollout.rewards_QG.shape[1]
    output = rollout.topology.output
    answers = {turn.request.episode: turn.message.text for turn in rollout.turns if turn.request.agent == output}
    statistics: dict[str, dict[str, float]] = {}
    for index, node in enumerate(nodes):
        rows = np.flatnonzero(rollout.node_M == index)
        if not len(rows):
            continue
        messages = [rollout.turns[row].message for row in rows]
        logprobs = [value for message in messages for value in message.logprobs]
        texts = [message.text for message in messages]
        statistics[node] = {
            "tokens": float(np.mean([message.sampled_tokens for message in messages])),
            "empty": float(np.mean([not text.strip() for text in texts])),
            "truncated": float(np.mean(rollout.truncated_M[rows])),
            "entropy": -float(np.mean(logprobs)) if logprobs else 0.0,
            "about_question": information(texts, [int(rollout.episode_M[row]) // samples for row in rows]),
        }
        if node != output:
            # Of a tree, a message stands beside the first of its answers.
            said = [answers[int(rollout.episode_M[row])] for row in rows]
            statistics[node]["about_answer"] = information(texts, said)
    return statistics


def information(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """The mutual information (nats) of two discrete variables from M joint draws, less what chance alone would show.

    The plug-in estimate is biased upward where values are many and draws are few; its mean over shuffled pairings,
    which carry no information, is subtracted (as adjusted mutual information does, Vinh et al., 2010, unnormalised).
    The result may fall below 0.
    """
    if not len(first):
        return 0.0
    a_M, b_M = _numbered(first), _numbered(second)
    rng = np.random.default_rng(derive("information", len(a_M)))
    chance = np.mean([_plug_in(a_M, rng.permutation(b_M)) for _ in range(SHUFFLES)])
    return float(_plug_in(a_M, b_M) - chance)


def _numbered(values: Sequence[Hashable]) -> np.ndarray:
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values])


def _plug_in(a_M: np.ndarray, b_M: np.ndarray) -> float:
    return _entropy(a_M) + _entropy(b_M) - _entropy(a_M * (int(b_M.max()) + 1) + b_M)


def _entropy(values_M: np.ndarray) -> float:
    counts = np.unique(values_M, return_counts=True)[1]
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum())
