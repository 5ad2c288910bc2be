"""The tiny backbone that most tests of training share."""

from __future__ import annotations

import pytest
import tiny_models
import torch

from algorithms.backbone import Backbone, load_backbone


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    """A random Llama of tiny_models.py, read from a folder as any backbone is."""
    torch.set_num_threads(1)
    return load_backbone(tiny_models.save(tmp_path_factory.mktemp("llama")))
