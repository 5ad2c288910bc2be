"""The tokenizer of the embedded backbone: one token a word, words split at white space."""

from __future__ import annotations

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from neuromas_env.tasks import chain, navigate, tree

PAD, BOS, EOS, UNKNOWN = "<pad>", "<s>", "</s>", "<unk>"
MAX_SLOTS = 16  # messages a node can tell apart
MAX_COORDINATE = 40
ANSWER_NOW = "Answer directly."
THINK = "Think step by step, then answer."

# Only the last chat message is read: the embedded backbone knows its tasks, and needs no explanation of them.
CHAT_TEMPLATE = "{{ bos_token }} {{ messages[-1]['content'] }}"


def coordinate(value: int) -> str:
    """A coordinate as the backbone writes it: `+4`, `-2`, `0`."""
    return f"{value:+d}" if value else "0"


def words(trees: bool = False) -> list[str]:
    """The vocabulary in token order; with `trees`, the words of the task `tree` after all others."""
    published = f"{navigate.OPENING} {navigate.FORWARD} {navigate.OPTIONS}".split()
    named = [f"{direction}." for direction in navigate.DIRECTIONS]
    ordered = [
        *(PAD, BOS, EOS, UNKNOWN),
        *(f"[{slot}]" for slot in range(1, MAX_SLOTS + 1)),
        *("layer", "round", "output", "node"),
        *(f"{index}:" for index in range(1, MAX_SLOTS + 1)),
        *(str(number) for number in range(21)),
        *chain.OPERATIONS,
        *(".", "="),
        *(f"{count}{heading}" for count in range(11) for heading in navigate.HEADINGS),
        *(coordinate(value) for value in range(-MAX_COORDINATE, MAX_COORDINATE + 1)),
        *published,
        *("Take", "step", "steps", "step.", "steps.", "Turn", "around."),
        *named,
        *ANSWER_NOW.split(),
        *THINK.split(),
        *("quote", "update"),
        *(("(", ")", *tree.operations(2)) if trees else ()),
    ]
    return list(dict.fromkeys(ordered))


def build_tokenizer(trees: bool = False) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words(trees))}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNKNOWN,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )
