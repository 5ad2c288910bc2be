"""Documents as tensors: one row a document, its branches side by side after the question, blind to one another."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .corpus import Corpus, Document
from .vocabulary import BOS, EOS, words


@dataclass(frozen=True, slots=True)
class Batch:
    """D documents padded to L tokens. `labels_DL` holds the next token where a reply is learnt and -100 elsewhere;
    `kinds_DL` numbers the behaviour there; `marked_DL` is True in the question. `mask_D1LL` is True where
    a token may look."""

    ids_DL: torch.Tensor
    positions_DL: torch.Tensor
    mask_D1LL: torch.Tensor
    labels_DL: torch.Tensor
    kinds_DL: torch.Tensor
    marked_DL: torch.Tensor


class Batcher:
    """Draws documents from several corpora in turn and packs them. All randomness comes from the seed and the step."""

    def __init__(self, corpora: Sequence[Corpus], rows: int, branches: int, seed: int) -> None:
        self.corpora, self.rows, self.branches, self.seed = corpora, rows, branches, seed
        self.ids = {word: i for i, word in enumerate(words(trees=True))}  # one list is the beginning of the other
        self.kinds: dict[str, int] = {}

    def batch(self, step: int, progress: float, stream: str = "train") -> Batch:
        rng = random.Random(f"nano/{self.seed}/{stream}/{step}")
        corpora = [self.corpora[row % len(self.corpora)] for row in range(self.rows)]
        return self.pack([corpus.document(rng, progress, self.branches) for corpus in corpora])

    def pack(self, documents: Sequence[Document]) -> Batch:
        rows = [self._row(document) for document in documents]
        length = max(len(row[0]) for row in rows)
        fill = (0, 0, -1, -100, 0)  # pad id, position, branch number, label, kind
        columns = [
            np.stack([np.pad(np.array(row[c]), (0, length - len(row[c])), constant_values=fill[c]) for row in rows])
            for c in range(5)
        ]
        ids_DL, positions_DL, branches_DL, labels_DL, kinds_DL = map(torch.from_numpy, columns)
        same_DLL = branches_DL[:, :, None] == branches_DL[:, None, :]
        mask_DLL = (same_DLL | (branches_DL == 0)[:, None, :]) & torch.ones(length, length, dtype=torch.bool).tril()
        return Batch(ids_DL, positions_DL, mask_DLL[:, None], labels_DL, kinds_DL, branches_DL == 0)

    def _row(self, document: Document) -> tuple[list[int], list[int], list[int], list[int], list[int]]:
        question = [self.ids[word] for word in [BOS, *document.question]]
        row = list(question)
        positions = list(range(len(question)))
        numbers = [0] * len(question)
        marks = ["", *(document.marks or [""] * len(document.question))]
        labels = [self.ids[mark] if mark else -100 for mark in marks]
        kinds = [self.kinds.setdefault("marks", len(self.kinds))] * len(question)
        for number, branch in enumerate(document.branches, start=1):
            suffix = [self.ids[word] for word in branch.suffix]
            reply = [self.ids[word] for word in branch.reply]
            size = len(suffix) + len(reply)
            row += suffix + reply
            positions += range(len(question), len(question) + size)
            numbers += [number] * size
            labels += [-100] * (len(suffix) - 1) + [*reply, self.ids[EOS]]
            kinds += [self.kinds.setdefault(branch.kind, len(self.kinds))] * size
        return row, positions, numbers, labels, kinds
