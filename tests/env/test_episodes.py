import pytest

from neuromas_env import Message, Meter, UnknownNameError, run_episodes


def test_turns_scores_and_the_meter(spell, solver) -> None:
    meter = Meter()
    batch = run_episodes(spell, "2-1", solver, [0, 3, 3], meter=meter)
    assert batch.answers == [":red", ":naïve", ":naïve"]
    assert batch.accuracy == 1.0
    assert [len(requests) for requests in solver.batches] == [6, 3]  # one call of the policy a layer
    assert [(t.request.agent, t.request.episode) for t in batch.turns] == [
        *[("node_0", e) for e in range(3)], *[("node_1", e) for e in range(3)], *[("node_2", e) for e in range(3)]
    ]  # fmt: skip
    assert all(turn.message.token_ids == (1, 2) for turn in batch.turns)
    assert meter.per_question(3) == {"calls": 3, "prompt_tokens": 9, "sampled_tokens": 6}
    assert meter.seconds > 0


def test_silence_is_heard_by_nobody_but_paid_for(spell, parrot) -> None:
    loud, quiet = Meter(), Meter()
    batch = run_episodes(spell, "2-1", parrot, [0], meter=loud)
    assert batch.answers == ["node_2@1 node_0@0 node_1@0"]
    batch = run_episodes(spell, "2-1", parrot, [0], meter=quiet, silence={"node_0"})
    assert batch.answers == ["node_2@1 node_1@0"]
    assert "[2] node_1@0" in batch.turns[-1].request.prompt  # the other keeps its label
    assert "\n[1]" not in batch.turns[-1].request.prompt
    assert batch.turns[0].message.text == "node_0@0"
    assert (quiet.calls, quiet.sampled_tokens) == (loud.calls, loud.sampled_tokens)
    assert run_episodes(spell, "2-1", parrot, [0], silence=["node_2"]).answers == [""]
    with pytest.raises(UnknownNameError, match="node_7"):
        run_episodes(spell, "2-1", parrot, [0], silence=["node_7"])


def test_free_nodes_cost_nothing(spell) -> None:
    class Vote:
        def act(self, requests):
            return [
                Message(":red", calls=0) if r.position.is_output else Message(":red", token_ids=(1,)) for r in requests
            ]

    meter = Meter()
    run_episodes(spell, "4-1", Vote(), [0, 0], meter=meter)
    assert (meter.calls, meter.sampled_tokens) == (8, 8)


def test_instructions_reach_the_policy(spell, solver) -> None:
    run_episodes(spell, "1-1", solver, [0], instructions={"node_1": "Think."})
    assert [[r.node_instruction for r in batch] for batch in solver.batches] == [[""], ["Think."]]


def test_a_policy_must_answer_every_request(spell) -> None:
    class Lazy:
        def act(self, requests):
            return [Message("x")]

    with pytest.raises(ValueError, match="1 messages for 2 requests"):
        run_episodes(spell, "2-1", Lazy(), [0])


def test_nested_timing_counts_once(monkeypatch) -> None:
    ticks = iter(range(100))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(ticks)))
    meter = Meter()
    with meter:  # tick 0
        with meter:
            pass
        with meter:
            pass
        assert meter.seconds == 0
    assert meter.seconds == 1  # only the outer block reads the clock
