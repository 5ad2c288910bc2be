"""What a run will take, said before: against what a real run then counts, and against memory that is known."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_models
import torch

from algorithms import estimate as module
from algorithms.config import TrainConfig
from algorithms.estimate import bytes_per_token, estimate, find_micro_batch_tokens
from algorithms.memory import free_memory, kept_for_backward
from algorithms.network import Network
from algorithms.packing import TrainSample, pack
from algorithms.training import train
from neuromas_env.errors import UsageError


class LongEcho(tiny_models.Echo):
    max_message_tokens = 5


ECHO = tiny_models.LongEcho()


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    return TrainConfig(
        "echo", topology="2-1", out=str(tmp_path / "run"), updates=4, questions=4, samples=4, rank=2,
        validation_questions=4, validation_every=3, tensorboard=False,
    )  # fmt: skip


@pytest.fixture
def all_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEASURED_SECONDS", float("inf"))


@pytest.fixture
def one_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEASURED_SECONDS", 0.0)


def samples(network: Network, count: int = 8, prompt: int = 40, message: int = 6) -> list[TrainSample]:
    """`count` samples of two questions at every node; the last 10 tokens of each prompt are its own."""
    rng, drawn = random.Random(0), []
    for node in range(network.topology.num_nodes):
        for index in range(count):
            shared = [6 + index % 2] * (prompt - 10)
            own = [rng.randrange(6, 30) for _ in range(10 + message)]
            drawn.append(TrainSample(node, index % 2, shared + own[:10], own[10:]))
    return drawn


# ---------------------------------------------------------------------- a whole run


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"credit": "counterfactual", "algorithm": "rloo"},
        {"credit": "tree", "algorithm": "rloo", "topology": "1-1-1", "samples": 8},
        {"topology": "2x2", "message_dropout": 0.5},
    ],
)
def test_the_first_update_of_a_run_counts_what_was_said_before(config, backbone, all_questions, options):
    config = replace(config, **options)
    said = estimate(config, task=ECHO, backbone=backbone)
    assert not os.path.exists(config.out)
    run = train(config, task=ECHO, backbone=backbone)
    first = run.metrics[1]
    for name in ("calls", "prompt_tokens", "sampled_tokens"):
        assert getattr(said, name) == first[name]
    assert said.credit_calls == first.get("credit_calls", 0)
    assert said.parameters == run.record["trainable_parameters"] == said.nodes * said.parameters_per_node
    assert said.validations == sum("validation_accuracy" in row for row in run.metrics)
    assert said.updates == run.metrics[-1]["update"]


def test_a_part_stands_for_the_whole(config, backbone, one_question):
    config = replace(config, questions=16, updates=3, learning_rate=1e-9)
    said = estimate(config, task=ECHO, backbone=backbone)
    assert (said.measured, said.questions) == (1, 16)
    last = train(config, task=ECHO, backbone=backbone).metrics[-1]
    assert said.updates * said.calls == last["calls"] == 3 * 3 * 64
    assert said.updates * said.sampled_tokens == pytest.approx(last["sampled_tokens"], rel=0.15)
    assert said.updates * said.prompt_tokens == pytest.approx(last["prompt_tokens"], rel=0.05)


def test_a_token_budget_decides_the_number_of_updates(config, backbone, all_questions):
    whole = estimate(config, task=ECHO, backbone=backbone)
    config = replace(config, token_budget=3 * whole.sampled_tokens + 1, validation_questions=0)
    said = estimate(config, task=ECHO, backbone=backbone)
    assert (said.updates, said.validations, said.validation_seconds) == (4, 0, 0.0)


def test_the_time_of_a_run_is_that_of_its_parts(config, backbone):
    said = estimate(config, task=ECHO, backbone=backbone)
    assert min(said.sample_seconds, said.learn_seconds, said.validation_seconds) > 0.0 == said.credit_seconds
    assert said.seconds == 4 * (said.sample_seconds + said.learn_seconds) + said.validation_seconds


def test_memory_is_told_by_its_parts(config, backbone, all_questions):
    said = estimate(replace(config, micro_batch_tokens=64), task=ECHO, backbone=backbone)
    assert said.memory["backbone"] == 4 * sum(p.numel() for p in backbone.model.parameters()) + sum(
        buffer.numel() * buffer.element_size() for buffer in backbone.model.buffers()
    )
    assert said.memory["adapters"] == 4 * 4 * said.parameters
    linears = sum(linear.weight.numel() for linear in backbone.targets.values())
    assert said.memory["merged"] == 4 * 3 * linears
    assert said.pass_tokens == said.micro_batch_tokens == 64
    # 16 episodes of 4 questions at two nodes: 8 prefixes and 32 rests and messages of 5 tokens, once each.
    held = 16 * (60 + 5)
    model = backbone.model.config
    passing = max(held * 4 * (6 * model.hidden_size + 3 * model.intermediate_size), 16 * model.vocab_size * 32)
    assert 16 * 5 * backbone.cache_bytes < said.memory["sampling"] < 2 * held * backbone.cache_bytes + passing
    assert said.peak_bytes == sum(said.memory.values())  # on a CPU, where sampling's is kept
    assert replace(said, device="cuda").peak_bytes < said.peak_bytes
    again = replace(config, micro_batch_tokens=64, epochs=2, algorithm="grpo")
    assert estimate(again, task=ECHO, backbone=backbone).memory["adapters"] == 7 * 4 * said.parameters
    wide = estimate(replace(config, micro_batch_tokens=1 << 20), task=ECHO, backbone=backbone)
    assert wide.pass_tokens < 48 * 60  # an update has no more
    assert wide.memory["training"] > said.memory["training"]


def test_it_says_everything_in_a_few_lines(config, backbone):
    said = estimate(config, task=ECHO, backbone=backbone)
    text = str(said)
    assert text.splitlines() == said.lines()
    for number in (said.parameters, said.calls, said.sampled_tokens, said.updates * said.sampled_tokens):
        assert f"{number:,}" in text


def test_nothing_is_left_behind(config, backbone, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    before = {name: tensor.clone() for name, tensor in backbone.model.state_dict().items()}
    estimate(replace(config, checkpoint_activations=True), task=ECHO, backbone=backbone)
    assert not list(tmp_path.rglob("*"))
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(before[name], tensor) for name, tensor in backbone.model.state_dict().items())
    assert all("forward" not in vars(layer) for layer in backbone.model.get_decoder().layers)


def test_what_cannot_be_trained_is_refused_as_in_training(config, backbone):
    with pytest.raises(UsageError, match="epochs cannot be 2"):
        estimate(replace(config, epochs=2), task=ECHO, backbone=backbone)
    with pytest.raises(UsageError, match="samples cannot be 1"):
        estimate(replace(config, algorithm="rloo", samples=1), task=ECHO, backbone=backbone)


# ---------------------------------------------------------------------- micro-batches


def test_bytes_a_token_are_those_of_all_layers_and_leave_no_gradient(backbone):
    network = Network.create("1-1", backbone, rank=2)
    drawn = samples(network)
    whole = bytes_per_token(network, drawn)
    assert not network.adapters.grad_NP.any()
    shape = tiny_models.SHAPE
    # Whatever else is kept: of each layer the inputs of its five groups of linear layers.
    least = 4 * shape["num_hidden_layers"] * (3 * shape["hidden_size"] + shape["intermediate_size"])
    assert least < whole < 40 * least
    assert bytes_per_token(network, samples(network, count=16)) == pytest.approx(whole, rel=0.2)
    backbone.checkpoint_activations(True)
    try:
        assert bytes_per_token(network, drawn) < 0.8 * whole
    finally:
        backbone.checkpoint_activations(False)


def test_a_micro_batch_fits_and_holds_the_longest_sample(backbone):
    network = Network.create("1-1", backbone, rank=2)
    drawn = samples(network)  # of 46 tokens; a question at a node takes 30 and four times 16
    each = bytes_per_token(network, drawn)
    assert find_micro_batch_tokens(network, drawn, int(1500 * each)) == 1024
    assert find_micro_batch_tokens(network, drawn, int(100 * each)) == 94  # a whole question, rather than 64 tokens
    assert find_micro_batch_tokens(network, drawn, int(70 * each)) == 64
    assert find_micro_batch_tokens(network, drawn, int(70 * each), whole=True) == 94
    assert find_micro_batch_tokens(network, drawn, 0) == 46
    assert find_micro_batch_tokens(network, drawn, int(1e9 * each)) == module.LARGEST["cpu"]
    assert len(pack(drawn, 94)) == 4


def test_half_of_the_free_memory_is_taken(backbone, monkeypatch):
    network = Network.create("1", backbone, rank=2)
    drawn = samples(network)
    each = bytes_per_token(network, drawn)
    monkeypatch.setattr(module, "free_memory", lambda device: int(2.1 * 512 * each))
    assert find_micro_batch_tokens(network, drawn) == 512
    monkeypatch.setattr(module, "free_memory", lambda device: int(1.9 * 512 * each))
    assert find_micro_batch_tokens(network, drawn) == 256


# ---------------------------------------------------------------------- memory


def test_what_autograd_keeps_counts_each_storage_once_and_goes_with_the_backward_pass():
    x = torch.ones(1000, requires_grad=True)
    weight = torch.ones(1000)
    with kept_for_backward([weight, x]) as kept:
        y = (x * weight).exp()  # keeps its own result
        assert kept.now == 4000
        z = y.view(10, 100) * y.view(10, 100)  # keeps two views of it
        assert kept.now == 4000
        w = z.sin()  # keeps z
        assert kept.now == kept.most == 8000
        w.sum().backward()
        assert (kept.now, kept.most) == (0, 8000)
    torch.testing.assert_close(x.grad, 2 * (2 * x.detach()).exp() * (2 * x.detach()).exp().cos())


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


MEMINFO = {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable: 5000 kB\n"}


def test_free_memory_is_what_the_narrowest_limit_leaves(tmp_path):
    two = "sys/fs/cgroup/"
    version_2 = {
        **MEMINFO,
        "proc/self/cgroup": "0::/job/task\n",
        two + "job/task/memory.max": "max\n",
        two + "job/task/memory.current": "1\n",
        two + "job/memory.max": str(4000 * 1024),
        two + "job/memory.current": str(3000 * 1024),
        two + "job/memory.stat": f"anon 5\ninactive_file {500 * 1024}\n",
    }
    assert free_memory("cpu", write(tmp_path / "a", version_2)) == 1500 * 1024  # of the parent group
    one = "sys/fs/cgroup/memory/"
    version_1 = {
        **MEMINFO,
        "proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/not/seen/here\n0::/\n",
        one + "memory.limit_in_bytes": str(2000 * 1024),
        one + "memory.usage_in_bytes": str(1900 * 1024),
        one + "memory.stat": "inactive_file 7\ntotal_inactive_file 24\n",
    }
    assert free_memory("cpu", write(tmp_path / "b", version_1)) == 100 * 1024 + 24
    assert free_memory("cpu", write(tmp_path / "c", MEMINFO)) == 5000 * 1024
    version_1[one + "memory.usage_in_bytes"] = str(2100 * 1024)  # beyond its limit, for a moment
    assert free_memory("cpu", write(tmp_path / "d", version_1)) == 0
    with pytest.raises(UsageError, match="--micro-batch-tokens"):
        free_memory("cpu", tmp_path / "nothing")


def test_free_memory_of_this_machine():
    assert 2**20 < free_memory("cpu") < 2**50
