"""The embedded backbone's text: what it learnt from must be what the environment really shows to nodes."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("torch")

from algorithms.nano.corpus import node_suffix
from algorithms.nano.corpus_chain import ChainCorpus, State
from algorithms.nano.corpus_navigate import NavigateCorpus, Walk, entry
from algorithms.nano.corpus_tree import State as TreeState
from algorithms.nano.corpus_tree import TreeCorpus
from algorithms.nano.vocabulary import ANSWER_NOW, BOS, THINK, build_tokenizer, words
from neuromas_env.node import Incoming, NodeRequest, Position
from neuromas_env.tasks.chain import Chain
from neuromas_env.tasks.generated import split_of
from neuromas_env.tasks.navigate import Navigate, Walker, draw_instructions
from neuromas_env.tasks.tree import Tree

CORPORA = [ChainCorpus(), NavigateCorpus(), TreeCorpus(drills=True)]


@pytest.mark.parametrize("corpus", CORPORA)
def test_documents_hold_only_known_words_and_training_questions(corpus):
    known = set(words(trees=isinstance(corpus, TreeCorpus)))
    rng = random.Random(0)
    for progress in (0.05, 0.3, 1.0):
        for _ in range(200):
            document = corpus.document(rng, progress, 6)
            assert known.issuperset(document.question)
            text = " ".join(document.question).replace(" Options: - Yes - No", "\nOptions:\n- Yes\n- No")
            assert split_of(text) == "train"
            for branch in document.branches:
                assert known.issuperset(branch.suffix), branch
                assert known.issuperset(branch.reply), branch
                assert branch.suffix
                assert branch.reply


@pytest.mark.parametrize(("task", "note"), [(Chain(), ". . . . 3 +5 -6"), (Navigate(), "1N 0 +4 2N -3 +4")])
@pytest.mark.parametrize("instruction", ["", ANSWER_NOW, THINK])
def test_prompts_of_the_environment_tokenise_to_the_words_of_the_corpus(task, note, instruction):
    question = task.question("train", 5)
    request = NodeRequest(
        agent="node_1",
        episode=0,
        step=1,
        question_id=question.id,
        task=question.prompt,
        messages=(Incoming(1, "node_0", note), Incoming(2, "node_3", "")),
        position=Position(2, 1),
        task_instruction=task.instruction,
        node_instruction=instruction,
    )
    tokenizer = build_tokenizer()
    text = tokenizer.apply_chat_template(request.chat, tokenize=False, add_generation_prompt=True)
    tokens = tokenizer.convert_ids_to_tokens(tokenizer(text, add_special_tokens=False)["input_ids"])
    expected = f"{BOS} {question.prompt} [1] {note} {instruction} layer 2 node 1:".split()
    assert tokens == expected
    drawn = node_suffix(random.Random(1), [note], instruction)
    assert drawn[1:8] == tokens[len(question.prompt.split()) + 2 :][:7]


def test_every_answer_of_the_corpus_is_right_by_the_task():
    rng = random.Random(3)
    chain, navigate = Chain("1-6"), Navigate()
    for index in range(50):
        question = chain.question("train", index)
        value, *operations = [word for word in question.prompt.split() if word != "."]
        assert chain.score(question, State(int(value), tuple(operations)).result).value == 1.0
        instructions = draw_instructions(rng, rng.randint(2, 9), rng.random() < 0.5, rng.random() < 0.5)
        walk = Walk(instructions, instructions[0].named)
        for walker in [Walker(), *walk.onwards(Walker())]:
            assert walk.answer(walker) == walk.answer(Walker())
        assert navigate.parse(navigate.question("train", 0), f"{entry(walker)} {walk.answer(walker)}") is not None


def test_brackets_are_worked_out_in_place_and_come_to_the_task_s_answer():
    state = TreeState.parse("( ( 3 + 4 ) * ( 2 - 7 ) )")
    first, both = state.reduced(state.lowest()[:1]), state.level()
    assert str(first) == "( . . 7 . . * ( 2 - 7 ) )"
    assert str(first.level()) == str(both) == "( . . 7 . . * . . 5 . . )"
    assert str(both.level()) == ". . . . . . 5 . . . . . ."
    assert str(state.reduced(state.lowest()[:1], skip=True)) == "( . . 3 . . * ( 2 - 7 ) )"
    task = Tree("1-2")
    for index in range(200):
        question = task.question("train", index)
        assert TreeState.parse(question.prompt).result == f"= {question.answer}"


def test_the_words_of_trees_come_after_all_others():
    assert words(trees=True)[: len(words())] == words()
    tokenizer = build_tokenizer(trees=True)
    assert tokenizer.unk_token_id not in tokenizer(Tree("2-3").question("test", 0).prompt)["input_ids"]


def test_the_tokenizer_reads_back_what_it_wrote():
    tokenizer = build_tokenizer()
    text = "3W +4 -2 4W +4 -2 No"
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text
    assert len(set(words())) == len(words()) == len(tokenizer)
