"""Credit assignment: from the reward of the answer to a reward of each node.

The terminal reward R is the same for every node (`shared`, as in arXiv 2605.16757). The others ask what a node's own
message did, by playing episodes again (replay.py), where a node that hears what it heard says what it said:

    shared          R
    counterfactual  R - R(n's message replaced): by silence, or by what n said in the question's next sample.
                    (Difference rewards, Wolpert and Tumer, 2001; with a sample of the policy as in COMA, arXiv
                    1705.08926.) Upstream and beside n nothing changes, so the second term does not depend on n's
                    message and takes only variance out.
    leave-one-out   R - R(the whole network speaks anew, with n silent).
    shapley         the mean over orders of v(S and n) - v(S), S the nodes before n in the order; v(S) is the reward
                    when all nodes outside S are silent, v(all) = R (Shapley, 1953; orders are sampled, Castro et al.,
                    2009). The credits of an episode add up to R less the reward of a silent network.
    tree            the mean reward of the episodes that share n's message: the samples of a question are drawn as a
                    tree (rollout.py), in place of extra calls.
    verifier        what n's message earns as an answer, together with what is said after it: with v_c the task's score
                    of the message at step s, v(s') the mean of those at a later step (the last one's is R), and γ the
                    discount, (v_c + Σ_{s' > s} γ^(s' - s) v(s')) / (1 + Σ γ^(s' - s)). MAPoRL (arXiv 2502.18439)
                    rewards each turn of a debate by a verifier so, and looks ahead; this form of it is ours, and the
                    task's scorer stands for its learnt verifier. Only where every message is to be an answer.

An algorithm then turns each node's rewards into advantages as it does with R, node by node, or in one comparison over
all nodes (`normalize_by network`; for `shared` the two are the same up to the count in a standard deviation, as Dr.MAS,
arXiv 2602.08847, observes). Every extra call is metered with the calls of the rollout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from neuromas_env.errors import UnknownNameError, UsageError
from neuromas_env.topology import Topology

from .algorithm import Algorithm, FloatArray, typed_value
from .replay import Replay, Variant
from .rollout import Rollout, calls_of, default_branching
from .seeds import derive

if TYPE_CHECKING:
    from .config import TrainConfig

OWN_OPTION = {"counterfactual": "replacement", "shapley": "orders", "tree": "branching", "verifier": "discount"}
CREDITS = ("shared", "counterfactual", "leave-one-out", "shapley", "tree", "verifier")
NormalizeBy = Literal["node", "network"]
Replacement = Literal["silence", "sample"]


@dataclass(frozen=True)
class Credit:
    """A way to assign credit, with its options. Raises UnknownNameError or UsageError for what does not exist."""

    name: str = "shared"
    normalize_by: NormalizeBy = "node"
    """Compare a node's rewards with its own, or with those of all nodes."""
    replacement: Replacement = "silence"
    """Of `counterfactual`: what stands for the node's message, nothing or that of the question's next sample."""
    orders: int = 1
    """Of `shapley`: sampled orders of the nodes, of each episode."""
    branching: str = ""
    """Of `tree`: how often each step goes on, such as 2-2-2; without it, the most even tree of the samples."""
    discount: float = 1.0
    """Of `verifier`: what each step further on counts less."""

    def __post_init__(self) -> None:
        if self.name not in CREDITS:
            raise UnknownNameError("credit assignment", self.name, CREDITS)
        for name, accepted in (("normalize_by", get_args(NormalizeBy)), ("replacement", get_args(Replacement))):
            if getattr(self, name) not in accepted:
                raise UsageError(f"the option {name!r} of credit cannot be {getattr(self, name)!r} "
                                 f"(accepted: {', '.join(accepted)})")  # fmt: skip
        if self.orders < 1:
            raise UsageError(f"the option 'orders' of credit cannot be {self.orders} (accepted: a whole number from 1)")
        if not 0 <= self.discount <= 1:
            raise UsageError(f"the option 'discount' of credit cannot be {self.discount} (accepted: 0 to 1)")
        if self.branching and not all(part.isdecimal() for part in self.branching.split("-")):
            raise UsageError(
                f"the option 'branching' of credit cannot be {self.branching!r} (accepted: whole numbers such as 2-2-2)"
            )

    @classmethod
    def make(cls, name: str, options: Mapping[str, str]) -> Credit:
        """The credit assignment `name` with options as typed; each may be given only where it is read."""
        known = ["normalize_by", *([OWN_OPTION[name]] if name in OWN_OPTION else [])]
        kinds = {
            "normalize_by": NormalizeBy,
            "replacement": Replacement,
            "orders": int,
            "branching": str,
            "discount": float,
        }
        values = {}
        for option, text in options.items():
            if name in CREDITS and option not in known:
                raise UnknownNameError(f"option of credit {name}", option, known)
            values[option] = typed_value(f"option {option!r} of credit {name!r}", text, kinds[option])
        return cls(name, **values)

    @classmethod
    def of(cls, config: TrainConfig, algorithm: Algorithm) -> Credit:
        """What a run is trained with: the credit assignment asked for, or the algorithm's own.

        Raises UsageError where the algorithm cannot learn from rewards of single nodes, or needs a tree.
        """
        name = config.credit or algorithm.credit
        if algorithm.credit == "tree" and name != "tree":
            raise UsageError(
                f"the algorithm {algorithm.name!r} learns from a search tree, so credit cannot be {name!r} "
                "(accepted: tree)"
            )
        if not algorithm.per_node and (name != "shared" or config.length_cost or config.silence_cost):
            raise UsageError(
                f"the algorithm {algorithm.name!r} with these options has one baseline for all nodes, so they cannot "
                "have rewards of their own (accepted: credit shared, no length-cost and no silence-cost)"
            )
        credit = cls.make(name, config.credit_options)
        if credit.normalize_by == "network" and type(algorithm).assign is not Algorithm.assign:
            raise UsageError(f"the algorithm {algorithm.name!r} has its own baseline for each node, so credit cannot "
                             "be compared over the network (accepted: normalize_by node)")  # fmt: skip
        if credit.replacement == "sample" and config.samples < 2:
            raise UsageError("credit takes messages of another sample, so samples cannot be 1 (accepted: from 2)")
        return credit

    def tree(self, samples: int, topology: Topology) -> list[int] | None:
        """The branching of the rollout, where its episodes make a tree."""
        if self.name != "tree":
            return None
        if not self.branching:
            return default_branching(samples, topology.horizon)
        return [int(part) for part in self.branching.split("-")]

    def rewards(self, rollout: Rollout, terminal_QG: FloatArray, replay: Replay, seed: int) -> FloatArray:
        """The reward [Q, G, C] of every message, from the terminal rewards. Extra calls are metered by `replay`."""
        calls = calls_of(rollout.topology)
        shared_QGC = np.repeat(terminal_QG[..., None], len(calls), axis=2)
        if self.name == "shared":
            return shared_QGC
        if self.name == "tree":
            return rollout.over_leaves(shared_QGC)
        if self.name == "verifier":
            return _verified(rollout, terminal_QG, replay, self.discount)
        nodes = rollout.topology.nodes
        of_node = [[call for call, (_, speaker) in enumerate(calls) if speaker == node] for node in nodes]
        if self.name == "shapley":
            credit_EN = _shapley(rollout, terminal_QG.reshape(-1), replay, of_node, self.orders, seed)
        else:
            credit_EN = terminal_QG.reshape(-1)[:, None] - self._without(rollout, replay, of_node)
        columns = [nodes.index(speaker) for _, speaker in calls]
        return credit_EN[:, columns].reshape(shared_QGC.shape)

    def _without(self, rollout: Rollout, replay: Replay, of_node: Sequence[Sequence[int]]) -> FloatArray:
        """The reward [E, N] of every episode played again without each node."""
        Q, G = rollout.rewards_QG.shape
        variants = []
        for episode in range(Q * G):
            other = episode - episode % G + (episode + 1) % G
            for own in of_node:
                if self.name == "counterfactual" and self.replacement == "sample":
                    replaced = {call: rollout.heard[other, call] for call in own}
                else:
                    replaced = dict.fromkeys(own, "")
                variants.append(Variant(episode, replaced, afresh=self.name == "leave-one-out"))
        return replay.rewards(rollout, variants).reshape(Q * G, len(of_node))

    def advantages(self, algorithm: Algorithm, rollout: Rollout, rewards_QGC: FloatArray) -> FloatArray:
        """The advantages [Q, G, C] that `algorithm` sees in the rewards, compared as `normalize_by` says."""
        if self.normalize_by == "node":
            return algorithm.assign(rollout, rewards_QGC)
        Q, G, C = rewards_QGC.shape
        return algorithm.advantages(rewards_QGC.reshape(Q, G * C)).reshape(Q, G, C)


def _verified(rollout: Rollout, terminal_QG: FloatArray, replay: Replay, discount: float) -> FloatArray:
    """What every message earns as an answer, averaged with what is said after it, [Q, G, C]."""
    G = rollout.rewards_QG.shape[1]
    step_C = np.array([step for step, _ in calls_of(rollout.topology)])
    own_M = [
        replay.task.score(rollout.questions[turn.request.episode // G], turn.message.text).value
        for turn in rollout.turns
    ]
    own_QGC = rollout.by_call(np.array(own_M, dtype=np.float64).reshape(len(rollout.turns)))
    own_QGC[..., -1] = terminal_QG
    mean_QGS = np.stack([own_QGC[..., step_C == step].mean(axis=-1) for step in range(step_C.max() + 1)], axis=-1)
    earned_QGC = np.empty_like(own_QGC)
    for call, step in enumerate(step_C):
        weights_S = discount ** np.arange(1, mean_QGS.shape[-1] - step)
        later_QG = (mean_QGS[..., step + 1 :] * weights_S).sum(axis=-1)
        earned_QGC[..., call] = (own_QGC[..., call] + later_QG) / (1 + weights_S.sum())
    return earned_QGC


def _shapley(
    rollout: Rollout,
    rewards_E: FloatArray,
    replay: Replay,
    of_node: Sequence[Sequence[int]],
    orders: int,
    seed: int,
) -> FloatArray:
    """Sampled Shapley values [E, N]: nodes fall silent one after the other, and each is credited with what is lost."""
    E, N = len(rewards_E), len(of_node)
    order_EKN = np.random.default_rng(derive(seed, "shapley")).permuted(
        np.broadcast_to(np.arange(N), (E, orders, N)), axis=2
    )
    # Every coalition of an episode is played once, however many orders come by it.
    coalitions: dict[tuple[int, frozenset[int]], int] = {}
    for episode in range(E):
        for order_N in order_EKN[episode].tolist():
            for count in range(1, N + 1):
                coalitions.setdefault((episode, frozenset(order_N[:count])), len(coalitions))
    played = replay.rewards(
        rollout,
        [Variant(episode, {call: "" for node in silent for call in of_node[node]}) for episode, silent in coalitions],
    )
    credit_EN = np.zeros((E, N))
    for episode in range(E):
        for order_N in order_EKN[episode].tolist():
            before = rewards_E[episode]
            for count, node in enumerate(order_N, start=1):
                after = played[coalitions[episode, frozenset(order_N[:count])]]
                credit_EN[episode, node] += (before - after) / orders
                before = after
    return credit_EN
