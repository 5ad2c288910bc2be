"""A server of the OpenAI chat interface that fails in every way: no question is lost, and none is paid for twice."""

import json
import threading
import time

import pytest
from chat_server import ChatStub

from algorithms import Network, load_backbone
from algorithms.engines import make_engine
from algorithms.engines.openai import ChatServer, ServedModel
from algorithms.engines.patience import Patience, RefusedError
from algorithms.errors import EngineError
from baselines.base import System, make_method
from baselines.evaluate import ask
from neuromas_env.budget import Meter
from neuromas_env.cli import main
from neuromas_env.episodes import run_episodes
from neuromas_env.errors import UnknownNameError, UsageError
from neuromas_env.registry import make_task

QUICK = {"concurrency": 4, "timeout": 0.4, "tries": 5, "wait": 0.01}
TASK = make_task("chain")
ANSWERS = {question.prompt: question.answer for question in (TASK.question("test", index) for index in range(40))}


def right(prompt):
    """The right answer to the question in a prompt."""
    return next(f"= {answer}" for text, answer in ANSWERS.items() if text in prompt)


def command(arguments):
    """The exit code of a command line."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


def served(stub, topology="1", **options):
    engine = ChatServer(stub.url, "some-model", Patience(**{**QUICK, **options}))
    return Network.create(topology, ServedModel("some-model", engine, stub.url), rank=0)


FAULTS = [429, 500, 503, "hang", "malformed", "empty", "uncounted", "cut", "dribble"]


@pytest.mark.parametrize("fault", FAULTS)
def test_no_question_is_lost_and_no_budget_is_charged_twice(fault):
    meter = Meter()
    with ChatStub(right, dict.fromkeys((0, 2, 3, 7, 11), fault)) as stub:
        network = served(stub)
        batch = run_episodes(TASK, "1", network, range(12), meter=meter)
    assert batch.accuracy == 1.0
    assert len(stub.generated) == len(set(stub.generated)) == 12
    assert stub.requests == 17
    spent = network.engine.patience.spent
    assert (meter.calls, spent.requests, spent.retries) == (12, 12, 5)
    prompts = sum(map(len, stub.generated))
    said = sum(len(right(prompt)) for prompt in stub.generated)
    assert (meter.prompt_tokens, meter.sampled_tokens) == (spent.prompt_tokens, spent.sampled_tokens) == (prompts, said)


def test_a_question_that_is_refused_is_wrong_and_the_others_are_paid_for_once():
    bad = TASK.question("test", 5).prompt
    with ChatStub(right, {"all": lambda prompt: 400 if bad in prompt else None}) as stub:
        outcomes, meter = ask(System(served(stub).topology, served(stub)), TASK, "test", 12)
    assert list(outcomes.errors) == [5]
    assert "status 400" in outcomes.errors[5]
    assert outcomes.correct_Q.sum() == 11
    assert len(stub.generated) == 11
    assert (meter.calls, meter.prompt_tokens) == (11, sum(map(len, stub.generated)))


@pytest.mark.parametrize(("fault", "told", "most"), [(401, "status 401", 4), (500, "5 tries.*status 500", 40)])
def test_a_server_that_answers_nothing_ends_the_evaluation_and_counts_nothing_wrong(fault, told, most):
    with ChatStub(right, {"all": fault}) as stub, pytest.raises(EngineError, match=told):
        ask(System(served(stub).topology, served(stub)), TASK, "test", 40)
    assert stub.requests <= most


def test_a_server_that_is_not_there_is_told():
    with ChatStub(right) as stub:
        network = served(stub, tries=2)
    with pytest.raises(EngineError, match="gave no answer in 2 tries"):
        run_episodes(TASK, "1", network, range(2))


def test_requests_go_out_together_and_not_more_than_allowed():
    now, most, lock = [0], [0], threading.Lock()

    def slow(prompt):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        return right(prompt)

    with ChatStub(slow) as stub:
        run_episodes(TASK, "1", served(stub, concurrency=3, timeout=5.0), range(12))
    assert most[0] == 3


def test_the_rate_limit_spaces_tries():
    with ChatStub(right) as stub:
        started = time.monotonic()
        run_episodes(TASK, "1", served(stub, per_minute=1200.0), range(11))
    assert time.monotonic() - started >= 0.5  # ten pauses of a twentieth of a second


def test_what_a_server_asks_to_wait_holds_everybody():
    with ChatStub(right, {0: 429}) as stub:
        engine = served(stub, concurrency=1, wait=30.0)
        started = time.monotonic()
        run_episodes(TASK, "1", engine, range(2))
    assert time.monotonic() - started < 5.0


def test_votes_hear_every_sample_of_the_same_prompt():
    """Equal prompts of several nodes are several requests, each with a seed of its own."""
    with ChatStub(right) as stub:
        network = served(stub, "3-1")
        batch = run_episodes(TASK, "3-1", network, range(4))
    assert batch.accuracy == 1.0
    assert stub.requests == 16
    first_layer = [body["seed"] for body in stub.bodies[:12]]
    assert len(set(first_layer)) == 12


def test_messages_have_the_servers_word_for_tokens_and_for_a_cut():
    def reply(prompt):
        return {"choices": [{"message": {"content": None}, "finish_reason": "length"}],
                "usage": {"prompt_tokens": 7, "completion_tokens": 3}}  # fmt: skip

    with ChatStub(right) as stub:
        stub.reply = lambda prompt: json.dumps(reply(prompt)).encode()
        (turn,) = run_episodes(TASK, "1", served(stub), [0]).turns
    message = turn.message
    assert (message.text, message.finish_reason, message.prompt_tokens, message.sampled_tokens) == ("", "length", 7, 3)


def test_the_key_travels_and_the_body_is_the_chat(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with ChatStub(right) as stub:
        (turn,) = run_episodes(TASK, "1", served(stub), [0]).turns
    (body,) = stub.bodies
    assert body["authorization"] == "Bearer sk-test"
    assert body["messages"] == turn.request.chat
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("some-model", 0.0, turn.request.max_tokens)


def test_the_command_asks_a_server_and_tells_the_cost(capsys):
    with ChatStub(right) as stub:
        engine = f"openai:{stub.url}:concurrency=2:price_in=1:price_out=10"
        assert (
            command(["evaluate", "cot", "chain", "--questions", "5", "--engine", engine, "--backbone", "served"]) == 0
        )
    table, told = capsys.readouterr()
    assert "100.0" in table
    assert "5 requests answered, 0 tries failed" in told
    cost = (sum(map(len, stub.generated)) + 10 * sum(len(right(prompt)) for prompt in stub.generated)) / 1e6
    assert f"cost {cost:.4f}" in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["evaluate", "neuromas:1-1-1", "chain"], "needs adapters, log-probabilities, token ids"),
        (["compare", "chain", "--methods", "cot,single-rl"], "method 'single-rl' needs adapters"),
        (["train", "chain"], "engine 'openai'"),
    ],
)
def test_what_a_chat_server_cannot_do_is_refused_by_name(arguments, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    engine = ["--engine", "openai:http://127.0.0.1:9/v1", "--backbone", "served"]
    questions = [] if arguments[0] == "train" else ["--questions", "5"]
    assert command([*arguments, *questions, *engine]) == 2
    assert told in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [
        ("openai", UsageError, "needs the address"),
        ("openai:ftp://host", UsageError, "needs the address"),
        ("openai:http://host/v1:concurrency=none", UsageError, "is a number"),
        ("openai:http://host/v1:concurrency=0", UsageError, "above 0"),
        ("openai:http://host/v1:speed=9", UnknownNameError, "concurrency"),
    ],
)
def test_bad_addresses_and_options_are_told(text, kind, told):
    with pytest.raises(kind, match=told):
        make_engine(text, "model")


def test_options_follow_the_address():
    engine = make_engine("openai:http://host:8000/v1:tries=3:price_in=0.5", "model")
    assert (engine.url, engine.model, engine.patience.tries, engine.price_in) == (
        "http://host:8000/v1",
        "model",
        3,
        0.5,
    )
    with pytest.raises(UsageError, match="the name that the server knows"):
        load_backbone("nano", engine="openai:http://host/v1")


def test_a_refusal_is_no_engine_failure():
    assert not issubclass(RefusedError, EngineError)
    assert make_method("cot").trained is False
