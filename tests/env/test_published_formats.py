"""Files made on the spot: the published formats and their copies, files at fault, overlaps, and the hub's client."""

from __future__ import annotations

import csv
import gzip
import io
import json
from dataclasses import replace

import pytest

from neuromas_env import make_task
from neuromas_env.errors import DataFileError, UsageError
from neuromas_env.tasks.catalog import BBH, MMLU
from neuromas_env.tasks.choices import order_of

ARC = {
    "id": "q1",
    "question": {
        "stem": "What melts?",
        "choices": [{"text": t, "label": x} for x, t in zip("ABCD", ("ice", "air", "fire", "light"), strict=True)],
    },
    "answerKey": "A",
}
ARC_COPY = {
    "id": "q1",
    "question": "What melts?",
    "choices": {"text": ["ice", "air", "fire", "light"], "label": ["1", "2", "3", "4"]},
    "answerKey": "1",
}
GSM = {"question": "How many?", "answer": "Count <<1+1=2>>2.\n#### 1,002"}
MATH = {"problem": "Half of one?", "answer": "\\frac{1}{2}", "solution": "It is $\\boxed{\\frac{1}{2}}$.", "level": 1}
HUMANEVAL = {
    "task_id": "T/0",
    "prompt": 'def one() -> int:\n    """Return 1."""\n',
    "canonical_solution": "    return 1\n",
    "test": "def check(candidate):\n    assert candidate() == 1\n",
    "entry_point": "one",
}
MBPP = {"task_id": 11, "text": "Write one.", "code": "def one():\r\n    return 1", "test_list": ["assert one() == 1"]}
BBH_ROW = {"input": "How many cows?\nOptions:\n(A) one\n(B) two", "target": "(B)"}
WITHOUT_HEADER = [["What is 1 + 1?", "1", "2", "3", "4", "B"]]
WITH_HEADER = [["question", "choice0", "choice1", "choice2", "choice3", "answer"], [*WITHOUT_HEADER[0][:5], "1"]]


def lines(*rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def table(rows) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()


def write(folder, name, content: bytes):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("arc_challenge", ("a.jsonl", lines(ARC)), ("b.json", json.dumps([ARC_COPY]).encode())),
        ("mmlu/anatomy", ("a.csv", table(WITHOUT_HEADER)), ("b.csv.gz", table(WITH_HEADER))),
        ("gsm8k", ("a.jsonl", lines(GSM)), ("b.jsonl.gz", lines(GSM))),
        ("mbpp", ("a.jsonl", lines(MBPP)), ("b.json", json.dumps([MBPP | {"prompt": MBPP["text"]}]).encode())),
        ("bbh/snarks", ("a.json", json.dumps({"examples": [BBH_ROW]}).encode()), ("b.jsonl", lines(BBH_ROW))),
    ],
)
def test_both_published_forms_give_the_same_question(name, first, second, tmp_path):
    questions = [make_task(name, data=write(tmp_path, *file)).question("test", 0) for file in (first, second)]
    assert questions[0] == questions[1]


def test_parquet_is_read(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "test.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([ARC_COPY]), path)
    made = write(tmp_path, "a.jsonl", lines(ARC))
    assert make_task("arc_challenge", data=path).question("test", 0) == (
        make_task("arc_challenge", data=made).question("test", 0)
    )


def test_mbpp_rows_fall_into_splits_by_their_ids(tmp_path):
    rows = [MBPP | {"task_id": n, "text": f"Write {n}."} for n in (1, 10, 11, 510, 511, 600, 601, 974)]
    task = make_task("mbpp", data=write(tmp_path, "mbpp.jsonl", lines(*rows)), shots=2)
    ids = {
        s: [task.question(s, i).id.split("/")[-1] for i in range(task.size(s))] for s in ("train", "validation", "test")
    }
    assert ids == {"train": ["601", "974"], "validation": ["511", "600"], "test": ["11", "510"]}
    assert task.question("test", 0).prompt.startswith("Write 1.\nThe program must pass")


@pytest.mark.parametrize("layout", ["{subject}_{split}.csv", "{split}/{subject}_{split}.csv"])
def test_mmlu_folders_in_either_layout(layout, tmp_path):
    for number, split in enumerate(("dev", "val", "test")):
        rows = [[f"Question {number}?", "1", "2", "3", "4", "B"]]
        write(tmp_path, layout.format(subject="anatomy", split=split), table(rows))
    task = make_task("mmlu/anatomy", data=tmp_path, shots=1)
    assert (task.size("train"), task.size("validation"), task.size("test")) == (0, 1, 1)
    assert "Question 0?" in task.question("test", 0).prompt.split("\n\n")[0]


def test_questions_of_a_later_split_leave_the_earlier_ones(tmp_path):
    """The same question under another id, with its options in another order, is the same question."""
    again = json.loads(json.dumps(ARC)) | {"id": "q2"}
    again["question"]["choices"].reverse()
    again["answerKey"] = "A"
    other = json.loads(json.dumps(ARC)) | {"id": "q3"}
    other["question"]["stem"] = "What else melts?"
    write(tmp_path, "ARC-Challenge-Train.jsonl", lines(ARC, other))
    write(tmp_path, "ARC-Challenge-Test.jsonl", lines(again))
    task = make_task("arc_challenge", data=tmp_path)
    assert task.size("train") == 1
    assert "else" in task.question("train", 0).prompt
    assert task.size("test") == 1


def test_a_solved_example_is_never_a_question_to_be_judged_by(tmp_path):
    other, third = (json.loads(json.dumps(ARC)) | {"id": f"q{n}"} for n in (2, 3))
    other["question"]["stem"], third["question"]["stem"] = "What burns?", "What shines?"
    write(tmp_path, "ARC-Challenge-Train.jsonl", lines(ARC, other, third))
    write(tmp_path, "ARC-Challenge-Test.jsonl", lines(ARC | {"id": "q9"}))
    task = make_task("arc_challenge", data=tmp_path, shots=1)
    assert task.question("test", 0).prompt.count("What melts?") == 1
    assert [task.question("train", index).id[-2:] for index in range(task.size("train"))] == ["q3"]


BROKEN = [
    ("gsm8k", "a.jsonl", lines(GSM) + b'{"question": "b" "answer": "c"}\n', r"a\.jsonl, line 2: not JSON"),
    ("gsm8k", "a.jsonl", lines(GSM) + b"\n" + lines({"question": "b"}), r"line 3: field 'answer' is missing"),
    ("gsm8k", "a.jsonl", lines({"question": "b", "answer": "so 3"}), r"line 1: field 'answer' does not end with '####"),
    ("gsm8k", "a.jsonl", lines({"question": "b", "answer": "#### many"}), r"line 1: field 'answer'"),
    ("gsm8k", "a.jsonl", lines({"question": 3, "answer": "#### 1"}), r"line 1: field 'question' is 3, not a text"),
    ("gsm8k", "a.jsonl", lines({"question": " ", "answer": "#### 1"}), r"line 1: field 'question' is empty"),
    ("gsm8k", "a.jsonl", lines({"question": "\ud800", "answer": "#### 1"}), r"line 1: field 'question'.*U\+D800"),
    ("gsm8k", "a.jsonl", b"[1]\n", r"line 1: an object with named fields is needed"),
    ("gsm8k", "a.jsonl", b"", r"holds no rows"),
    ("gsm8k", "a.jsonl", lines(GSM) + b'{"question": "caf\xe9", "answer": "#### 1"}\n', r"line 2: not UTF-8"),
    ("gsm8k", "a.jsonl", b"9" * 10_000, r"line 1"),
    ("gsm8k", "a.jsonl", b"[" * 200_000, r"line 1.*nested"),
    ("gsm8k", "a.txt", lines(GSM), r"\.jsonl, \.json, \.csv"),
    ("gsm8k", "a.json", b'{"rows": []}', r"a list of rows is needed"),
    ("arc_challenge", "a.jsonl", lines(ARC, ARC), r"line 2: the id 'q1' is taken \(.*line 1\)"),
    (
        "arc_challenge",
        "a.jsonl",
        lines(ARC | {"answerKey": "E"}),
        r"line 1: field 'answerKey' is 'E', none of.*A, B, C, D",
    ),
    ("arc_challenge", "a.jsonl", lines({"id": "q", "answerKey": "A"}), r"line 1: field 'question' is missing"),
    ("arc_challenge", "a.jsonl", lines(ARC_COPY | {"choices": {"text": ["a"], "label": ["1"]}}), r"field 'choices'"),
    ("arc_challenge", "a.jsonl", lines(ARC_COPY | {"choices": "a b"}), r"field 'choices' is no list"),
    ("mmlu/anatomy", "a.csv", table([*WITHOUT_HEADER, ["q", "1", "2", "B"]]), r"line 2: 4 fields, 6 are needed"),
    ("mmlu/anatomy", "a.csv", table([["q", "1", "2", "3", "4", "E"]]), r"line 1: field 'answer' is 'E'"),
    (
        "mmlu/anatomy",
        "a.csv",
        table([WITH_HEADER[0], ["q", "1", "2", "3", "4", "4"]]),
        r"line 2: field 'answer' is '4'",
    ),
    ("mmlu/anatomy", "a.csv", table([["question", "answer"], ["q", "1"]]), r"line 2: field 'A' is missing"),
    ("mmlu/anatomy", "a.csv", b'"open,1,2,3,4,A\n', r"a\.csv, line 1: not CSV"),
    ("humaneval", "a.jsonl", lines(HUMANEVAL | {"entry_point": "two"}), r"line 1: field 'entry_point' is 'two'"),
    ("humaneval", "a.jsonl", lines({k: v for k, v in HUMANEVAL.items() if k != "test"}), r"field 'test' is missing"),
    ("humaneval", "a.jsonl.gz", None, r"cannot read data file"),
    ("mbpp", "a.jsonl", lines(MBPP | {"task_id": "x"}), r"line 1: field 'task_id'"),
    ("mbpp", "a.jsonl", lines(MBPP | {"test_list": "assert"}), r"line 1: field 'test_list' is 'assert', not a list"),
    ("mbpp", "a.jsonl", lines(MBPP, MBPP), r"line 2: the id '11' is taken"),
    ("math500", "a.jsonl", lines(MATH, MATH | {"answer": None}), r"line 2: field 'answer' is empty, not a text"),
    (
        "bbh/snarks",
        "a.json",
        json.dumps({"examples": [BBH_ROW | {"target": "(C)"}]}).encode(),
        r"'\(C\)', none of.*A, B",
    ),
    ("bbh/navigate", "a.json", json.dumps({"examples": [BBH_ROW]}).encode(), r"example 1.*field 'target'.*Yes, No"),
    (
        "bbh/object_counting",
        "a.json",
        json.dumps({"examples": [BBH_ROW]}).encode(),
        r"'target' is '\(B\)', not a number",
    ),
]


@pytest.mark.parametrize(("name", "file", "content", "message"), BROKEN)
def test_a_file_at_fault_names_file_line_and_field_and_loads_nothing(name, file, content, message, tmp_path):
    path = tmp_path / file
    path.write_bytes(b"no gzip" if content is None else content)
    task = make_task(name, data=path)
    for _ in range(2):  # and nothing stays behind of the rows before the fault
        with pytest.raises(DataFileError, match=message) as caught:
            task.size("test")
        assert str(path) in str(caught.value)


def test_missing_files_and_impossible_options_are_refused_at_once(tmp_path):
    with pytest.raises(DataFileError, match=r"nothing\.jsonl"):
        make_task("gsm8k", data=tmp_path / "nothing.jsonl")
    path = write(tmp_path, "a.jsonl", lines(GSM))
    for options, message in (
        ({"shots": "many"}, "shots.*whole number"),
        ({"shots": "-1"}, "shots"),
        ({"partition": "50-50"}, "partition"),
        ({"partition": "90-10-0"}, "partition"),
        ({"colour": "red"}, "takes no option 'colour'"),
    ):
        with pytest.raises(UsageError, match=message):
            make_task("gsm8k", data=path, **options)


def test_rows_of_bbh_that_name_no_letter_still_count(tmp_path):
    """Three published rows do: one option named by its text, two whose options carry no letters."""
    rows = [
        {"input": "Which?\nOptions:\n(A) ab\n(B) cd", "target": "cd"},
        {"input": "Which?\nOptions:\nab\ncd\nef", "target": "ef"},
        {"input": "Which one?\nOptions:\n(A) ab\n(B) cd", "target": "gh"},
    ]
    path = write(tmp_path, "ruin_names.json", json.dumps({"examples": rows}).encode())
    task = make_task("bbh/ruin_names", data=path)
    for index, text in enumerate(("cd", "ef", "gh")):
        question = task.question("test", index)
        assert task.score(question, f"Answer: {question.answer}").value == 1.0
        gold = question.choices["ABC".index(question.answer)] if question.choices else question.answer
        assert gold == text
        assert task.score(question, question.prompt).value == 0.0


@pytest.mark.parametrize(
    "options",
    [
        ("red", "blue", "All of the above"),
        ("red", "blue", "None of these"),
        ("red", "blue", "both A and B"),
        ("red", "blue", "A and C only"),
        ("red", "blue", "Neither of them"),
        ("red", "blue", "options A and B"),
        ("red", "blue", "(A)"),
    ],
)
def test_options_that_speak_of_others_keep_their_order(options):
    assert all(order_of(options, f"{key}", 0) == [0, 1, 2] for key in range(20))
    plain = ("red", "blue", "a band of all colours")
    assert {tuple(order_of(plain, f"{key}", 0)) for key in range(60)} > {(0, 1, 2)}


def test_there_is_a_made_up_example_for_every_published_task():
    for name in (
        "arc_challenge",
        "gsm8k",
        "math500",
        "humaneval",
        "mbpp",
        *(f"bbh/{m}" for m in BBH),
        *(f"mmlu/{m}" for m in MMLU),
    ):
        task = make_task(name)
        question = task.example()
        assert question.prompt
        if name not in ("math500", "humaneval", "mbpp"):
            assert task.score(question, f"Answer: {question.answer}").value == 1.0, name
            assert task.score(question, question.prompt).value == 0.0, name


def test_the_hub_gives_the_rows_that_the_file_gives(tmp_path, monkeypatch):
    """The hub's client, on a dataset folder of this machine: the same code path, without the network."""
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    folder = tmp_path / "dataset"
    path = write(folder, "test.jsonl", lines(ARC_COPY))
    write(folder, "train.jsonl", lines(ARC_COPY | {"id": "q2", "question": "What burns?"}))
    from neuromas_env.tasks import arc

    hub = replace(arc.ArcChallenge.hub, repository=str(folder), config=None, splits={"train": "train", "test": "test"})
    monkeypatch.setattr(arc.ArcChallenge, "hub", hub)
    task, from_file = make_task("arc_challenge"), make_task("arc_challenge", data=path)
    assert task.question("test", 0) == from_file.question("test", 0)
    assert (task.size("train"), task.size("validation"), task.size("test")) == (1, 0, 1)
    assert task.split_hash("test") == from_file.split_hash("test")


def test_a_hub_that_cannot_be_reached_is_one_line(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    from neuromas_env.tasks import gsm8k

    hub = replace(gsm8k.Gsm8k.hub, repository=str(tmp_path / "no-such-dataset"))
    monkeypatch.setattr(gsm8k.Gsm8k, "hub", hub)
    with pytest.raises(DataFileError, match=r"cannot be had from the hub.*--data") as caught:
        make_task("gsm8k").size("test")
    assert "\n" not in str(caught.value)
