"""A small task that the tests of the environment share."""

from __future__ import annotations

from neuromas_env import Question, Task


class Spell(Task):
    """Repeat the word of the question after a colon."""

    name = "spell"
    instruction = "Answer with a colon and the word."
    max_message_tokens = 5
    max_message_chars = 40
    words = ("red", "green", "blue", "naïve", "水")

    def size(self, split: str) -> int | None:
        if split not in ("train", "test"):
            raise ValueError(f"unknown split {split!r}")
        return None if split == "train" else len(self.words)

    def question(self, split: str, index: int) -> Question:
        size = self.size(split)
        if index < 0 or (size is not None and index >= size):
            raise IndexError(index)
        word = self.words[index % len(self.words)]
        return Question(f"spell/{split}/{index}", f"word {index}: {word}", word, metadata={"n": index})

    def parse(self, question: Question, text: str, *, strict: bool = True) -> str | None:
        return text[1:] if text.startswith(":") else None
