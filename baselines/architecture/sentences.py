"""A question as the frozen backbone sees it: an optional embedding in place of the bag of words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from algorithms.backbone import Backbone


class SentenceEmbedding:
    """The mean of the backbone's last hidden states over a text's tokens, scaled to unit length, [d]."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self._known: dict[str, np.ndarray] = {}

    def __call__(self, text: str) -> np.ndarray:
        if text not in self._known:
            self._known[text] = self._embed(text)
        return self._known[text]

    @torch.no_grad()
    def _embed(self, text: str) -> np.ndarray:
        ids_1L = torch.tensor([self.backbone.tokenizer(text)["input_ids"]], device=self.backbone.device)
        states_1LD = self.backbone.model.get_decoder()(input_ids=ids_1L, use_cache=False).last_hidden_state
        mean_D = states_1LD[0].float().mean(dim=0)
        return np.asarray((mean_D / mean_D.norm()).cpu().numpy(), np.float32)
