"""The engine `vllm` with the real vLLM, where it is installed (`examples/vllm_cpu.sh` makes an environment for it)."""

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from importlib.util import find_spec

import httpx
import oracle
import pytest
import tiny_models
import torch

from algorithms import Network, load_backbone
from algorithms.backbone import EMBEDDED
from algorithms.engines import PromptBatch, adapter_versions, make_engine
from algorithms.engines.adapter_versions import AdapterVersions, Version
from algorithms.engines.vllm_process import RUNNING
from algorithms.errors import EngineError
from algorithms.packing import TrainSample, pack
from neuromas_env.cli import main
from neuromas_env.registry import make_task

pytestmark = pytest.mark.skipif(
    find_spec("vllm") is None, reason="vllm is not installed here: `bash examples/vllm_cpu.sh make`, then `… check`"
)
SMALL = "vllm:cache=0.25"


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("nano", engine=SMALL)


@pytest.fixture(scope="module")
def server():
    """The address of a vLLM server in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = (
        f"-m vllm.entrypoints.openai.api_server --model {EMBEDDED['nano']} --host 127.0.0.1 --port {port} "
        "--dtype float32 --enforce-eager --enable-lora --max-loras 3 --max-lora-rank 8 "
        f"--logprobs-mode processed_logprobs --kv-cache-memory-bytes {2**28} --uvicorn-log-level warning"
    )
    settings = {**os.environ, "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    settings.pop("VLLM_ENABLE_V1_MULTIPROCESSING", None)  # set by the engine in this process
    url, process = f"http://127.0.0.1:{port}", subprocess.Popen([sys.executable, *command.split()], env=settings)
    try:
        for _ in range(240):
            assert process.poll() is None, "the server has ended"
            with suppress(httpx.HTTPError):
                httpx.get(f"{url}/v1/models").raise_for_status()
                break
            time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.wait(60)


def network(backbone, topology="1-1-1"):
    made = Network.create(topology, backbone, rank=4, seed=1)
    oracle.shake(made.adapters)
    return made


def batch(network, temperature, questions=4, words=0):
    """Every node is asked every question twice; prompts are made longer by so many `words`."""
    task, nodes = make_task("chain"), range(network.topology.num_nodes)
    texts = [" 7" * words + task.question("test", index).prompt for index in range(questions)]
    encoded = [network.backbone.tokenizer(text)["input_ids"] for text in texts]
    rows = [(node, prompt, group) for node in nodes for group, prompt in enumerate(encoded) for _ in range(2)]
    nodes_M, prompts, groups = zip(*rows, strict=True)
    return PromptBatch(nodes_M, prompts, groups, [8] * len(rows), temperature, seed=5)


def distance(network, asked, sampled):
    """The largest difference between the sampler's log-probabilities and the trainer's, over all sampled tokens."""
    rows = zip(asked.nodes, asked.groups, asked.prompts, sampled, strict=True)
    samples = [TrainSample(node, group, prompt, list(said.token_ids)) for node, group, prompt, said in rows]
    worst = 0.0
    with torch.no_grad():
        for part in pack(samples, 1 << 14):
            logprobs_MT, _, order = network.logprobs(part, asked.temperature or 1.0)
            for logprobs_T, place in zip(logprobs_MT, order, strict=True):
                told_T = torch.tensor(sampled[place].logprobs)
                worst = max(worst, float((logprobs_T[: len(told_T)] - told_T).abs().max()))
    return worst


def check_near(network, asked, sampled):
    found = distance(network, asked, sampled)
    print(f"largest difference of log-probabilities at temperature {asked.temperature}: {found:.1e}")
    assert found < 1e-4


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_three_adapters_speak_at_once_with_the_trainers_log_probabilities(backbone, temperature):
    spoken = network(backbone)
    asked = batch(spoken, temperature)
    sampled = spoken.engine.sample(spoken, asked)
    check_near(spoken, asked, sampled)
    assert {each.finish_reason for each in sampled} == {"stop", "length"}
    for each in sampled:
        assert (each.token_ids[-1] in backbone.eos_ids) == (each.finish_reason == "stop")
    by_node = [[each.logprobs[0] for each, at in zip(sampled, asked.nodes, strict=True) if at == n] for n in range(3)]
    assert len(set(map(tuple, by_node))) == 3


def test_greedy_messages_are_those_of_the_transformers_engine(backbone):
    spoken = network(backbone)
    asked = batch(spoken, 0.0, questions=16)
    theirs, ours = spoken.engine.sample(spoken, asked), make_engine().sample(spoken, asked)
    assert [each.token_ids for each in theirs] == [each.token_ids for each in ours]


def test_a_divided_batch_says_what_the_whole_says(backbone):
    spoken = network(backbone)
    asked, places = batch(spoken, 1.0), [17, 3, 8, 20]
    whole = spoken.engine.sample(spoken, asked)
    part = spoken.engine.sample(spoken, asked.part(places))
    assert [each.token_ids for each in part] == [whole[place].token_ids for place in places]


def update_and_ask(backbone):
    """A network is asked, all its nodes move, and it is asked the same again, with prompts long enough to be cached."""
    spoken = network(backbone)
    asked = batch(spoken, 1.0, words=300)
    check_near(spoken, asked, spoken.engine.sample(spoken, asked))
    oracle.shake(spoken.adapters, seed=9)
    check_near(spoken, asked, spoken.engine.sample(spoken, asked))


def test_an_update_is_heard_at_once(backbone):
    update_and_ask(backbone)


@pytest.mark.parametrize("new_number", [False, True], ids=["all-reused", "name-and-path-reused"])
def test_a_reused_name_would_be_answered_from_what_was_before(backbone, monkeypatch, new_number):
    def make(self, adapters, node):
        name = f"{self._folder.name}-{new_number}-{node}"
        number = next(adapter_versions.NUMBERS) if new_number else 10**6 + node
        version = Version(name, number, self._folder / name)
        adapters.save_node(node, version.path)
        self._versions[self._contents[node]] = version

    monkeypatch.setattr(AdapterVersions, "_make", make)
    if not new_number:
        monkeypatch.setattr(backbone.engine._versions, "_unload", lambda version: None)
    with pytest.raises(AssertionError):
        update_and_ask(backbone)


def test_old_versions_leave_vllm_and_the_disk(backbone):
    spoken, engine, seen = network(backbone), backbone.engine, set()
    for seed in range(3):
        oracle.shake(spoken.adapters, seed=seed)
        engine.sample(spoken, batch(spoken, 0.0, questions=1))
        now = set(engine._versions.of(spoken, [0, 1, 2]).values())
        seen |= now
    assert len(seen) == 9
    assert RUNNING.llm.llm_engine.list_loras() & {each.number for each in seen} == {each.number for each in now}
    assert {path.name for path in engine._versions._folder.iterdir()} == {each.name for each in now}


def test_qwen3_of_head_size_64(tmp_path):
    shape = {"hidden_size": 128, "head_dim": 64, "intermediate_size": 192}
    tiny_models.make("qwen3", **shape).save_pretrained(tmp_path)
    tiny_models.tokenizer().save_pretrained(tmp_path)
    spoken = network(load_backbone(str(tmp_path), engine=SMALL))
    asked = batch(spoken, 1.0)
    check_near(spoken, asked, spoken.engine.sample(spoken, asked))


def test_a_head_size_that_vllm_has_not_is_told(tmp_path):
    spoken = network(load_backbone(tiny_models.save(tmp_path, "qwen3"), engine=SMALL))
    with pytest.raises(EngineError, match=r"cannot serve backbone .*head"):
        spoken.engine.sample(spoken, batch(spoken, 1.0))


def neuromas(command):
    with pytest.raises(SystemExit) as ended:
        main(command.split())
    assert not ended.value.code


def test_train_and_evaluate_by_command(tmp_path):
    run, told = tmp_path / "run", {}
    neuromas(f"train chain --topology 1-1-1 --engine {SMALL} --truncate 2 --updates 3 --out {run}")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(row["mismatch"] < 1e-4 for row in rows[1:])
    for engine in (SMALL, "transformers"):
        path = tmp_path / "said.jsonl"
        neuromas(f"evaluate {run} chain --questions 100 --engine {engine} --transcript {path}")
        told[engine] = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(told[SMALL]) >= 100
    assert told[SMALL] == told["transformers"]


def test_a_server_hears_updates_at_once_and_trains(server, tmp_path):
    update_and_ask(load_backbone("nano", engine=f"vllm:{server}"))
    run = tmp_path / "run"
    neuromas(f"train chain --topology 1-1-1 --engine vllm:{server} --updates 2 --validation-questions 20 --out {run}")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(row["mismatch"] < 1e-4 for row in rows[1:])
    models = httpx.get(f"{server}/v1/models").json()["data"]
    assert len([model for model in models if model["parent"]]) <= 2 * 3  # of two engines, the present ones alone
