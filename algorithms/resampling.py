"""Filling a batch with questions that teach something (dynamic sampling of DAPO, arXiv 2503.14476, equation 11).

A question whose samples all have one reward has no advantage. Such questions are put aside and others are drawn in
their place, a batch at a time, until the batch is full or so many further batches were drawn. All of it is metered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from .rollout import Rollout


def with_signal(draw: Callable[[int], Rollout], rounds: int) -> tuple[Rollout, Rollout]:
    """The first batch as it was drawn, and the batch to learn from: its questions with signal, and others'.

    `draw(r)` rolls out the r-th batch of an update. At most `rounds` further ones are drawn; with 0 the batch stays as
    it is. One that stays short is learnt from as it is; where no question has any signal it is the first one.
    """
    first = draw(0)
    if not rounds:
        return first, first
    wanted = len(first.questions)
    parts = [chosen(first, signalling(first))]
    for number in range(1, rounds + 1):
        missing = wanted - sum(len(part.questions) for part in parts)
        if missing <= 0:
            break
        further = draw(number)
        parts.append(chosen(further, signalling(further)[:missing]))
    parts = [part for part in parts if part.questions]
    return first, joined(parts) if parts else first


def signalling(rollout: Rollout) -> list[int]:
    """The questions whose samples differ in reward."""
    return np.flatnonzero(np.ptp(rollout.rewards_QG, axis=1) > 0).tolist()


def chosen(rollout: Rollout, questions: Sequence[int]) -> Rollout:
    """The part of a rollout that belongs to `questions`, in the order given; messages stay in the order of speaking."""
    samples = rollout.rewards_QG.shape[1]
    place_of = {question: place for place, question in enumerate(questions)}
    moved_E = np.full(rollout.rewards_QG.size, -1)
    for question, place in place_of.items():
        moved_E[question * samples : (question + 1) * samples] = place * samples + np.arange(samples)
    moved_M = moved_E[rollout.episode_M]
    rows = np.flatnonzero(moved_M >= 0)
    rows = rows[np.lexsort((moved_M[rows], rollout.call_M[rows]))]
    episodes = [question * samples + g for question in questions for g in range(samples)]
    turns = [rollout.turns[row] for row in rows]
    return replace(
        rollout,
        questions=[rollout.questions[question] for question in questions],
        scores=[rollout.scores[episode] for episode in episodes],
        rewards_QG=rollout.rewards_QG[list(questions)],
        turns=[
            replace(turn, request=replace(turn.request, episode=int(moved_M[row])))
            for turn, row in zip(turns, rows, strict=True)
        ],
        samples=[replace(rollout.samples[row], group=int(moved_M[row]) // samples) for row in rows],
        episode_M=moved_M[rows],
        node_M=rollout.node_M[rows],
        call_M=rollout.call_M[rows],
        truncated_M=rollout.truncated_M[rows],
        heard={
            (int(moved_E[episode]), call): text
            for (episode, call), text in rollout.heard.items()
            if moved_E[episode] >= 0
        },
    )


def joined(parts: Sequence[Rollout]) -> Rollout:
    """Rollouts of one network one after the other, as a single batch."""
    samples = parts[0].rewards_QG.shape[1]
    questions = [question for part in parts for question in part.questions]
    offsets = np.cumsum([0, *(part.rewards_QG.size for part in parts)])
    whole = replace(
        parts[0],
        questions=questions,
        scores=[score for part in parts for score in part.scores],
        rewards_QG=np.concatenate([part.rewards_QG for part in parts]),
        unparsed=float(np.average([part.unparsed for part in parts], weights=[len(p.questions) for p in parts])),
        turns=[
            replace(turn, request=replace(turn.request, episode=turn.request.episode + int(offset)))
            for part, offset in zip(parts, offsets, strict=False)
            for turn in part.turns
        ],
        samples=[
            replace(sample, group=int(episode + offset) // samples)
            for part, offset in zip(parts, offsets, strict=False)
            for sample, episode in zip(part.samples, part.episode_M, strict=True)
        ],
        episode_M=np.concatenate([part.episode_M + offset for part, offset in zip(parts, offsets, strict=False)]),
        node_M=np.concatenate([part.node_M for part in parts]),
        call_M=np.concatenate([part.call_M for part in parts]),
        truncated_M=np.concatenate([part.truncated_M for part in parts]),
        heard={
            (episode + int(offset), call): text
            for part, offset in zip(parts, offsets, strict=False)
            for (episode, call), text in part.heard.items()
        },
    )
    return chosen(whole, range(len(questions)))
