"""Who speaks at a node, and how nodes learn together. Everything here loads on first use, torch included."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .adapters import StackedAdapters as StackedAdapters
    from .algorithm import Algorithm as Algorithm
    from .algorithm import register_algorithm as register_algorithm
    from .backbone import Backbone as Backbone
    from .backbone import load_backbone as load_backbone
    from .config import TrainConfig as TrainConfig
    from .growth import grow as grow
    from .network import Network as Network
    from .optimizer import StackedAdam as StackedAdam
    from .packing import TrainSample as TrainSample
    from .packing import pack as pack
    from .run import Run as Run
    from .training import train as train

_MODULES = {
    "Algorithm": "algorithm",
    "Backbone": "backbone",
    "Network": "network",
    "Run": "run",
    "StackedAdam": "optimizer",
    "StackedAdapters": "adapters",
    "TrainConfig": "config",
    "TrainSample": "packing",
    "grow": "growth",
    "load_backbone": "backbone",
    "pack": "packing",
    "register_algorithm": "algorithm",
    "train": "training",
}
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
