"""Topology environments stepped together for stable-baselines3: all networks that a step completes are evaluated in
one call, so that each of their layers is one call of the language model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stable_baselines3.common.vec_env import DummyVecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from neuromas_env.search.env import TopologyEnv


class TopologyVecEnv(DummyVecEnv):
    """`make_envs` make TopologyEnvs with one evaluator, which is asked for all of them at once."""

    def __init__(self, make_envs: Sequence[Callable[[], TopologyEnv]]) -> None:
        super().__init__(list(make_envs))
        self.topology_envs = [env for env in self.envs if isinstance(env, TopologyEnv)]

    def step_wait(self) -> VecEnvStepReturn:
        built = [env.completed(action) for env, action in zip(self.topology_envs, self.actions, strict=True)]
        complete = [(env, topology) for env, topology in zip(self.topology_envs, built, strict=True) if topology]
        if complete:
            questions = [env.question for env, _ in complete if env.question is not None]
            found = self.topology_envs[0].evaluator(questions, [topology for _, topology in complete])
            for (env, _), evaluation in zip(complete, found, strict=True):
                env.evaluation = evaluation
        return super().step_wait()
