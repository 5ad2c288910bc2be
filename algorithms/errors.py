"""What may go wrong in training."""

from __future__ import annotations

from neuromas_env.errors import NeuromasError


class NotFiniteError(NeuromasError):
    """A loss or a gradient is infinite or not a number; nothing was stepped."""


class EngineError(NeuromasError):
    """An engine cannot go on. What was asked is neither answered nor counted."""


class TrainingError(NeuromasError):
    """Training cannot go on. Everything before the update that failed is in the run folder."""


class TrainingStopped(KeyboardInterrupt):
    """Training was asked to stop; the run folder holds a checkpoint of the last finished update."""
