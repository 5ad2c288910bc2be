"""The work that is timed: random models of known shapes, prompts of one length, and one step of our own engine.

Everything that is compared does the same: the same model, prompts, samples of each prompt and lengths, LoRA of rank 8
on all linear layers, one Adam step. Weights are random, so nothing is downloaded, and speed does not depend on them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from neuromas_env.errors import UnknownNameError

from ..backbone import Backbone
from ..distributed import Team
from ..network import Network
from ..optimizer import StackedAdam
from ..packing import TrainSample, pack
from ..sampling import Sampled, sample

if TYPE_CHECKING:
    from collections.abc import Sequence

RANK = 8
EOS = 1


@dataclass(frozen=True)
class Shape:
    """A model of the Qwen3 architecture, by its sizes."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int


SHAPES = {
    "t1": Shape(128, 384, 4, 4, 2, 32, 512),
    "t5": Shape(256, 768, 5, 8, 4, 32, 1024),
    "m30": Shape(512, 1536, 9, 8, 4, 64, 2048),
    "qwen3-0.6b": Shape(1024, 3072, 28, 16, 8, 128, 151_936),
}
"""By name; the last one is the exact shape of Qwen/Qwen3-0.6B."""


@dataclass(frozen=True)
class Work:
    """What one step does. `questions` prompts of `prompt` tokens, `samples` messages of `new` tokens of each, by every
    one of `nodes` nodes."""

    shape: str = "t1"
    nodes: int = 1
    questions: int = 64
    samples: int = 8
    prompt: int = 48
    new: int = 16
    device: str = "cpu"
    dtype: str = "float32"
    spread: float = 0.02
    """The standard deviation of the random weights: with the usual one, a random model cannot prefer a word by much."""

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise UnknownNameError("model of the benchmark", self.shape, SHAPES)

    @property
    def messages(self) -> int:
        """Of one step."""
        return self.questions * self.samples * self.nodes

    def model(self) -> Qwen3ForCausalLM:
        shape = SHAPES[self.shape]
        torch.manual_seed(0)
        config = Qwen3Config(
            vocab_size=shape.vocabulary,
            hidden_size=shape.hidden,
            intermediate_size=shape.intermediate,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            head_dim=shape.head_dim,
            max_position_embeddings=max(512, self.prompt + self.new),
            tie_word_embeddings=True,
            initializer_range=self.spread,
            pad_token_id=0,
            eos_token_id=EOS,
            bos_token_id=None,
        )
        with torch.device(self.device):
            model = Qwen3ForCausalLM(config)
        return model.to(getattr(torch, self.dtype))

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """A word a token."""
        words = ["<pad>", "<eos>", "<unk>", *(f"w{i}" for i in range(3, SHAPES[self.shape].vocabulary))]
        fast = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
        fast.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        return PreTrainedTokenizerFast(
            tokenizer_object=fast, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", padding_side="left"
        )

    def prompts(self, seed: int = 0) -> list[list[int]]:
        drawn = random.Random(seed)
        return [
            [drawn.randrange(3, SHAPES[self.shape].vocabulary) for _ in range(self.prompt)]
            for _ in range(self.questions)
        ]


ALONE = Team()


class Engine:
    """Our own engine: `sample`, then `learn` from what was sampled, is one step. All nodes have the same prompts.

    In a `team`, `work` is what one process does; all hear what the others sampled, and add their gradients.
    """

    def __init__(self, work: Work, team: Team = ALONE) -> None:
        self.work, self.team = work, team
        backbone = Backbone.wrap(work.model(), work.tokenizer(), work.shape)
        topology = "1" if work.nodes == 1 else f"{work.nodes - 1}-1"
        self.network = Network.create(topology, backbone, rank=RANK)
        assert self.network.adapters is not None
        self.adapters = self.network.adapters
        self.optimizer = StackedAdam(self.adapters, 1e-3)
        self.updates = 0

    def sample(self, seed: int | None = None) -> tuple[list[int], list[list[int]], list[int], list[Sampled]]:
        """Nodes, prompts, questions and completions of all rows."""
        work, seed = self.work, self.updates if seed is None else seed
        drawn_from = self.updates * self.team.size + self.team.rank  # no prompt is another process's too
        one = [prompt for prompt in work.prompts(drawn_from) for _ in range(work.samples)]
        rows, nodes = one * work.nodes, [node for node in range(work.nodes) for _ in one]
        groups = [place // work.samples for place in range(len(one))] * work.nodes
        drawn = sample(self.network.backbone, self.network.route, nodes, rows, groups, work.new, 1.0, seed)
        return nodes, rows, groups, drawn

    def learn(
        self,
        nodes: Sequence[int],
        rows: Sequence[list[int]],
        groups: Sequence[int],
        drawn: Sequence[Sampled],
        advantages_M: torch.Tensor | None = None,
    ) -> None:
        """A policy-gradient step, with the mean over each node's tokens."""
        if advantages_M is None:
            advantages_M = torch.linspace(-1, 1, len(rows))
        advantages_M = advantages_M.to(self.network.backbone.device)
        said = [one for share in self.team.gather(list(drawn)) for one in share]
        tokens = sum(len(one.token_ids) for one in said) / self.work.nodes
        asked = zip(nodes, groups, rows, drawn, strict=True)
        batch = [TrainSample(node, group, row, one.token_ids) for node, group, row, one in asked]
        self.optimizer.zero_grad()
        for part in pack(batch):
            logprobs_MT, mask_MT, order = self.network.logprobs(part)
            loss = -((logprobs_MT * mask_MT).sum(1) * advantages_M[order]).sum() / tokens
            loss.backward()
        self.team.add(self.adapters.grad_NP)
        self.optimizer.step(max_norm=1.0)
        self.updates += 1

    def step(self) -> None:
        self.learn(*self.sample())


def lora() -> Any:
    """The same adapters as peft makes them."""
    from peft import LoraConfig

    return LoraConfig(r=RANK, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
