"""Where submissions are kept."""

from .boards import board_key, board_label
from .store import Record, RefusedError, State, Store, Submitted, UnknownSubmissionError, now, open_store

__all__ = ["Record", "RefusedError", "State", "Store", "Submitted", "UnknownSubmissionError", "board_key",
           "board_label", "now", "open_store"]  # fmt: skip
