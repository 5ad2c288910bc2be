"""One network, one question: a PettingZoo environment whose agents are the nodes of a network of language models.

    env = neuromas_env.parallel_env("chain", topology="1-1-1")
    observations, infos = env.reset(seed=0)
    while env.agents:
        messages = {request.agent: my_model(request.prompt) for request in env.requests()}
        observations, rewards, terminations, truncations, infos = env.step(messages)

All nodes stay live until the end, so that the reward of the answer reaches every one of them; at each step only the
nodes of the topology's schedule speak (`active` in the observation), and what others say is ignored.

| | |
|---|---|
| Agents | the nodes of the topology: `node_0` … |
| Action | `UnicodeText`: a message of at most `task.max_message_chars` characters |
| Observation | `Dict(task, messages=Sequence(Dict(sender, text)), node, step, active)` |
| Reward | 0.0 until the last step, then the score of the output node's message, the same for every node |
| Ends | after `topology.horizon` steps; never truncated |
| Id | `neuromas/<task>-v0`, for `pettingzoo.make` |
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils import parallel_to_aec

from .engine import Engine
from .errors import EpisodeOverError, InvalidMessageError, UnknownNameError, UsageError
from .node import NodeRequest
from .registry import ENVIRONMENT_VERSION, make_task
from .spaces import UnicodeText
from .task import Question, Score, Task
from .text import sanitise, visible
from .topology import Topology
from .vector import check_setting, make_requests

Observation = dict[str, Any]
RENDER_MODES = ("human", "ansi")
TASK_CHARS = 2**31 - 1
"""Questions have no bound of their own."""


class TextNetworkEnv(ParallelEnv[str, Observation, str | None]):
    """A network of language models that answers one question an episode. See the module for spaces and rewards.

    `split` says where questions are drawn from. `instructions` gives nodes an instruction of their own (the prompts
    are role-free without). A message that is missing, too long or holds lone surrogates is repaired and flagged in
    the sender's info; `on_invalid="raise"` raises InvalidMessageError instead. Only `np_random` is used for chance.
    """

    def __init__(
        self,
        task: str | Task,
        topology: str | Topology = "1-1-1",
        split: str = "train",
        *,
        data: str | Path | None = None,
        instructions: Mapping[str, str] | None = None,
        on_invalid: str = "flag",
        render_mode: str | None = None,
        **task_options: Any,
    ) -> None:
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise UsageError(f"bad render_mode {render_mode!r}: {', '.join(RENDER_MODES)} or None is accepted")
        self.task = make_task(task, data=data, **task_options)
        self.topology, self.instructions, self._size = check_setting(
            self.task, topology, split, instructions, on_invalid
        )
        self.split, self.on_invalid, self.render_mode = split, on_invalid, render_mode
        self.metadata = {
            "name": f"neuromas/{self.task.name}-v{ENVIRONMENT_VERSION}",
            "render_modes": list(RENDER_MODES),
            "is_parallelizable": True,
        }
        self.possible_agents = list(self.topology.nodes)
        self.agents: list[str] = []
        message, name = UnicodeText(self.task.max_message_chars), UnicodeText(64)
        space = {
            "task": UnicodeText(TASK_CHARS),
            "messages": spaces.Sequence(spaces.Dict({"sender": name, "text": message})),
            "node": spaces.Discrete(self.topology.num_nodes),
            "step": spaces.Discrete(self.topology.horizon + 1),
            "active": spaces.Discrete(2),
        }
        # The same space for every agent, but an object each, because spaces hold the generator they are sampled with.
        self._observation_spaces = {agent: deepcopy(spaces.Dict(space)) for agent in self.possible_agents}
        self._action_spaces = {agent: deepcopy(message) for agent in self.possible_agents}
        self.np_random: np.random.Generator | None = None
        self._engine: Engine | None = None

    def observation_space(self, agent: str) -> spaces.Dict:
        return self._observation_spaces[self._known(agent)]

    def action_space(self, agent: str) -> UnicodeText:
        return self._action_spaces[self._known(agent)]

    def _known(self, agent: str) -> str:
        if agent not in self._action_spaces:
            raise UnknownNameError("agent", agent, self.possible_agents)
        return agent

    # ------------------------------------------------------------------ the episode

    def reset(
        self, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Observation], dict[str, dict[str, Any]]]:
        """Start an episode with a question drawn from the split.

        `options["question"]` (an index into the split, or a Question) asks that one instead; other options are ignored.
        """
        if seed is not None or self.np_random is None:
            self.np_random, _ = seeding.np_random(seed)
        chosen = (options or {}).get("question")
        if chosen is None:
            chosen = int(self.np_random.integers(self._size))
        self.question = chosen if isinstance(chosen, Question) else self.task.question(self.split, int(chosen))
        self.score: Score | None = None
        self._engine = Engine(self.topology, 1)
        self.agents = list(self.possible_agents)
        return self._observations(), {agent: self._info(()) for agent in self.agents}

    def requests(self) -> list[NodeRequest]:
        """What the nodes that speak at this step are asked, in the order of the schedule; empty at the end."""
        return make_requests(self.engine, self.task, [self.question], self.instructions)

    def step(
        self, actions: Mapping[str, str | None]
    ) -> tuple[dict[str, Observation], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Deliver the messages of the nodes that speak now.

        A scheduled node without a message is silent and flagged. Raises UnknownNameError (a KeyError) for an agent
        that is no node, TypeError for a message that is no text, EpisodeOverError after the end.
        """
        engine = self.engine
        if engine.done and not actions:
            return {}, {}, {}, {}, {}
        if engine.done:
            raise EpisodeOverError("the episode is over; reset the environment")
        texts: dict[str, str] = {}
        flags: dict[str, tuple[str, ...]] = dict.fromkeys(self.agents, ())
        for agent, message in actions.items():
            try:
                texts[self._known(agent)], flags[agent] = sanitise(message, self.task.max_message_chars)
            except TypeError as error:
                raise TypeError(f"{agent}: {error}") from None
        for agent in self.agents:
            if agent not in engine.speakers:
                flags[agent] = ()  # whatever it said, nobody hears it
            elif agent not in texts:
                texts[agent], flags[agent] = sanitise(None, 0)
            if flags[agent] and self.on_invalid == "raise":
                raise InvalidMessageError(f"the message of {agent} is invalid: {', '.join(flags[agent])}")
        engine.deliver({agent: [texts[agent]] for agent in engine.speakers})
        if engine.done:
            self.score = self.task.score(self.question, self.answer)
        nodes, reward = self.agents, self.score.value if self.score else 0.0
        if engine.done:
            self.agents = []
        return (
            self._observations(),
            dict.fromkeys(nodes, float(reward)),
            dict.fromkeys(nodes, engine.done),
            dict.fromkeys(nodes, False),
            {agent: self._info(flags[agent]) for agent in nodes},
        )

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            raise EpisodeOverError("reset the environment before it is used")
        return self._engine

    @property
    def answer(self) -> str:
        """The message of the output node ("" before it has spoken)."""
        return self.engine.answers[0]

    def _observations(self) -> dict[str, Observation]:
        engine, speakers = self.engine, set(self.engine.speakers)
        return {
            node: {
                "task": self.question.prompt,
                "messages": tuple({"sender": m.sender, "text": m.text} for m in engine.inboxes(node)[0]),
                "node": number,
                "step": engine.step,
                "active": int(node in speakers),
            }
            for number, node in enumerate(self.possible_agents)
        }

    def _info(self, flags: tuple[str, ...]) -> dict[str, Any]:
        info: dict[str, Any] = {"question": self.question.id, "flags": flags}
        if self.score is not None:
            info |= {"answer": self.answer, "parsed": self.score.parsed, "status": self.score.status}
        return info

    # ------------------------------------------------------------------ showing it

    def render(self) -> str | None:
        """The question, what each node said last, and the score: as text ("ansi"), or printed ("human")."""
        if self.render_mode is None:
            return None
        engine, topology = self.engine, self.topology
        lines = [
            f"{self.task.id} · {topology} · step {engine.step} of {topology.horizon}",
            visible(self.question.prompt, keep_newlines=True),
        ]
        speakers = set(engine.speakers)
        for layer in topology.layers:
            for node in layer:
                mark = ">" if node in speakers else " "
                heard = ", ".join(topology.incoming(node)) or "the question only"
                lines.append(f"{mark} {node} (hears {heard}): {visible(engine.said[node][0])}")
        if self.score is not None:
            lines.append(f"answer {visible(self.answer)!r}: {self.score.status}, reward {self.score.value:g}")
        text = "\n".join(lines)
        if self.render_mode == "ansi":
            return text
        print(text)
        return None

    def close(self) -> None:
        """Nothing is held open."""


def parallel_env(
    task: str | Task = "chain", topology: str | Topology = "1-1-1", split: str = "train", **options: Any
) -> TextNetworkEnv:
    """The environment in PettingZoo's parallel form; the options are those of TextNetworkEnv and of the task."""
    return TextNetworkEnv(task, topology, split, **options)


def env(
    task: str | Task = "chain", topology: str | Topology = "1-1-1", split: str = "train", **options: Any
) -> AECEnv[str, Observation, str | None]:
    """The same environment in PettingZoo's agent-by-agent form (AEC); `.unwrapped` is the TextNetworkEnv."""
    return parallel_to_aec(TextNetworkEnv(task, topology, split, **options))
