"""What one update of a run plays, as its configuration says: for the trainer, and for whoever measures a run before it
starts. All of it is a function of the configuration and the number of the update."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuromas_env.task import Task

from .algorithm import FloatArray
from .config import TrainConfig
from .credit import Credit
from .network import Network
from .replay import Replay
from .rollout import Rollout, SamplingPolicy, roll_out
from .seeds import derive, question_indices

if TYPE_CHECKING:
    from neuromas_env.budget import Meter


def play(
    config: TrainConfig,
    network: Network,
    task: Task,
    credit: Credit,
    update: int,
    meter: Meter | None = None,
    *,
    number: int = 0,
    questions: int | None = None,
) -> Rollout:
    """The batch of an update, or its first `questions`. With `number` above 0, a further batch of the same update."""
    # A grown run is asked other questions than its ancestors were, under the same seed.
    drawn = config.seed if config.parent is None else derive(config.seed, "grown", config.topology)
    sampled = derive(drawn, "sample", update)
    if number:
        drawn, sampled = derive(drawn, "resample", number), derive(sampled, "resample", number)
    indices = question_indices(drawn, update, config.questions, task.size("train"))[:questions]
    return roll_out(
        network,
        task,
        [task.question("train", index) for index in indices],
        config.samples,
        temperature=config.temperature,
        seed=sampled,
        max_tokens=config.max_tokens,
        instructions=config.instructions,
        meter=meter,
        branching=credit.tree(config.samples, network.topology),
        dropout=config.message_dropout,
    )


def credited(
    config: TrainConfig,
    network: Network,
    task: Task,
    credit: Credit,
    update: int,
    rollout: Rollout,
    terminal_QG: FloatArray,
    meter: Meter,
) -> FloatArray:
    """The reward [Q, G, C] of every message, from the reward of the answer; extra calls are metered."""
    seed = derive(config.seed, "credit", update)
    policy = SamplingPolicy(network, config.temperature, seed, config.max_tokens)
    return credit.rewards(rollout, terminal_QG, Replay(task, policy, config.instructions, meter), seed)
