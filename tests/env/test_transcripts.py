import json
from pathlib import Path

import pytest

from neuromas_env import TranscriptError, UsageError, run_episodes
from neuromas_env.transcripts import TranscriptWriter, read_transcript, replay


@pytest.fixture
def recorded(spell, parrot, tmp_path: Path) -> Path:
    path = tmp_path / "deep" / "episodes.jsonl"
    with TranscriptWriter(path, method="neuromas:2-1", seed=4, token_ids=True) as writer:
        for questions in ([0, 3], [4]):
            run_episodes(
                spell, "2-1", parrot, questions, instructions={"node_1": "Hm."}, silence=["node_0"], transcript=writer
            )
    return path


def test_what_is_recorded(recorded: Path) -> None:
    transcript = read_transcript(recorded)
    header = transcript.header
    assert (header.task, header.task_version, header.split) == ("spell", 0, "test")
    assert (str(header.topology), header.method, header.seed) == ("2-1", "neuromas:2-1", 4)
    assert (header.instructions, header.silence, header.max_tokens) == ({"node_1": "Hm."}, ("node_0",), 5)
    assert transcript.complete
    assert [episode.question.id for episode in transcript.episodes] == ["spell/test/0", "spell/test/3", "spell/test/4"]
    episode = transcript.episodes[1]
    assert (episode.index, episode.question.answer, episode.question.metadata) == (3, "naïve", {"n": 3})
    assert [(call.step, call.node) for call in episode.calls] == [(0, "node_0"), (0, "node_1"), (1, "node_2")]
    assert episode.calls[0].text == "node_0@0"  # said, though nobody heard it
    assert episode.answer == "node_2@1 node_1@0"
    assert episode.calls[0].token_ids == (1, 2)
    assert (episode.calls[0].prompt_tokens, episode.calls[0].sampled_tokens) == (3, 2)


def test_replay_gives_the_recorded_scores(recorded: Path, spell) -> None:
    assert replay(recorded, task=spell) == [episode.score for episode in read_transcript(recorded).episodes]


def edit(path: Path, line: int, change) -> None:
    lines = path.read_text().split("\n")
    data = json.loads(lines[line])
    change(data)
    lines[line] = json.dumps(data)
    path.write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("line", "change", "named"),
    [
        (1, lambda d: d["calls"][1].update(text="other"), "step 1, node_2: the prompt differs"),
        (1, lambda d: d["calls"][2].update(text=":red"), "the record says"),
        (1, lambda d: d.update(answer=":red"), "the record says"),
        (1, lambda d: d["score"].update(value=1.0, status="correct"), "the record says"),
        (2, lambda d: d["question"].update(answer="node_2@1"), "question spell/test/3 differs"),
        (2, lambda d: d["question"].update(prompt="word 3: red"), "step 0, node_0: the prompt differs"),
        (2, lambda d: d["calls"].pop(0), "step 0, node_0: this call is not in the record"),
        (2, lambda d: d["calls"].append(d["calls"][-1]), "1 recorded calls are beyond the schedule"),
        (0, lambda d: d.update(silence=[]), "the prompt differs"),
        (0, lambda d: d.update(instructions={}), "the prompt differs"),
        (0, lambda d: d.update(task_version=7), "records spell version 7"),
    ],
)
def test_replay_finds_every_forgery(recorded: Path, spell, line: int, change, named: str) -> None:
    edit(recorded, line, change)
    with pytest.raises(TranscriptError, match=named):
        replay(recorded, task=spell)


@pytest.mark.parametrize(
    ("line", "change", "named"),
    [
        (0, lambda d: d.update(format="other"), "line 1: no transcript"),
        (0, lambda d: d.update(version=99), "version 99"),
        (0, lambda d: d.pop("split"), "line 1: the field 'split' is missing"),
        (0, lambda d: d["topology"].update(output="zz"), "line 1: the output 'zz'"),
        (2, lambda d: d.pop("calls"), "line 3: the field 'calls' is missing"),
        (2, lambda d: d.update(answer=None), "line 3"),
        (2, lambda d: d["calls"][0].update(node="stranger"), "'stranger' does not speak at step 0"),
        (2, lambda d: d["calls"][0].update(sampled_tokens="many"), "'sampled_tokens'"),
        (2, lambda d: d["calls"][0].update(surprise=1), "line 3"),
        (2, lambda d: d.update(score=3), "line 3"),
    ],
)
def test_damage_is_named_with_its_line(recorded: Path, line: int, change, named: str) -> None:
    edit(recorded, line, change)
    with pytest.raises(TranscriptError, match=named):
        read_transcript(recorded)


def test_other_files_are_no_transcripts(tmp_path: Path) -> None:
    for name, content in {"empty": b"", "text": b"hello\n", "binary": b"\xff\xfe\n", "list": b"[]\n"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TranscriptError, match=name):
            read_transcript(tmp_path / name)
    with pytest.raises(TranscriptError, match="cannot read"):
        read_transcript(tmp_path / "missing")


def test_a_cut_last_line_is_noticed_and_left_out(recorded: Path) -> None:
    recorded.write_bytes(recorded.read_bytes()[:-20])
    transcript = read_transcript(recorded)
    assert not transcript.complete
    assert len(transcript.episodes) == 2


def test_limit_and_settings_of_a_writer(spell, solver, tmp_path: Path) -> None:
    with TranscriptWriter(tmp_path / "few.jsonl", limit=3) as writer:
        run_episodes(spell, "1", solver, [0, 1], transcript=writer)
        run_episodes(spell, "1", solver, [2, 3], transcript=writer)
        with pytest.raises(ValueError, match="another setting"):
            run_episodes(spell, "1-1", solver, [0], transcript=writer)
    assert len(read_transcript(tmp_path / "few.jsonl").episodes) == 3
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot write"):
        run_episodes(spell, "1", solver, [0], transcript=TranscriptWriter(tmp_path / "file" / "t.jsonl"))
