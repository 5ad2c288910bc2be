"""The tiny backbone and the short run that most tests of training share."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_models
import torch

from algorithms.backbone import Backbone, load_backbone
from algorithms.config import TrainConfig


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    """A random Llama of tiny_models.py, read from a folder as any backbone is."""
    torch.set_num_threads(1)
    return load_backbone(tiny_models.save(tmp_path_factory.mktemp("llama")))


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    """Eight updates of the task `echo`, with a checkpoint every two."""
    return TrainConfig(
        "echo", topology="1-1", out=str(tmp_path / "run"), updates=8, questions=2, samples=4, learning_rate=1e-2,
        rank=2, validation_questions=4, validation_every=3, checkpoint_every=2, tensorboard=False,
    )  # fmt: skip
