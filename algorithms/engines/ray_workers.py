"""Rollout workers on a Ray cluster (`--workers ray:N`): each samples a share of every batch with an engine of its own.

What travels is prompts and sampled tokens, and the adapters once after each update, by number. A share whose worker
is lost is sampled again by the others, to the same tokens, since its random numbers belong to its rows; a worker that
comes back is used again. So without staleness a run is the same whoever samples, and however many are lost.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from neuromas_env.errors import UsageError

from ..distributed import merged
from ..errors import EngineError
from ..sampling import Sampled
from .base import PromptBatch, TokenEngine

if TYPE_CHECKING:
    from ..config import TrainConfig
    from ..network import Network

NAME = "ray"
PATIENCE_SECONDS = 300.0
"""How long all workers may be gone before training stops."""


class Sampler:
    """The body of one worker: a backbone of its own and the adapters that it was last sent."""

    def __init__(self, setup: dict[str, Any]) -> None:
        from neuromas_env.topology import Topology

        from ..backbone import load_backbone
        from ..network import Network

        torch.set_num_threads(setup["threads"])
        backbone = load_backbone(setup["backbone"], setup["dtype"], setup["device"], setup["engine"])
        if backbone.weight_hash() != setup["weights"]:
            raise UsageError(f"a worker's {setup['backbone']} has other weights than the one that is trained on")
        self.network = Network.create(Topology.from_json(setup["topology"]), backbone, **setup["adapters"])
        self.version = -1

    def ready(self) -> bool:
        return True

    def sample(self, version: int, flat_NP: np.ndarray, batch: PromptBatch) -> list[Sampled]:
        """The completions of a share by adapters `version`, whose values are `flat_NP`."""
        network = self.network
        assert network.adapters is not None
        if version != self.version:
            with torch.no_grad():
                network.adapters.flat_NP.copy_(torch.from_numpy(flat_NP.copy()))
            self.version = version
        assert isinstance(network.engine, TokenEngine)
        return network.engine.sample(network, batch)


class RayEngine(TokenEngine):
    """`count` workers on the Ray cluster of RAY_ADDRESS, or on one that is started on this machine for them."""

    name = NAME
    remote = True

    def __init__(self, count: int, network: Network, config: TrainConfig) -> None:
        """Raises UsageError where Ray is not installed or the cluster has not `count` free cores or GPUs."""
        try:
            import ray
        except ModuleNotFoundError:
            raise UsageError("--workers ray:N needs Ray: pip install 'neuromas[ray]'") from None
        self.ray, self.lost = ray, 0
        self._started = not ray.is_initialized()
        if self._started:
            address = os.environ.get("RAY_ADDRESS", "local")
            local: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **local)
        kind = "GPU" if network.backbone.device.type == "cuda" else "CPU"
        there = int(ray.cluster_resources().get(kind, 0))
        if there < count:
            self.close()
            raise UsageError(f"--workers ray:{count}: the Ray cluster has only {there} {kind}s")
        adapters = network.adapters
        assert adapters is not None
        setup = {
            "backbone": network.backbone.pinned,
            "weights": network.backbone.weight_hash(),
            "dtype": config.dtype,
            "device": network.backbone.device.type,
            "engine": config.engine,
            "threads": config.threads,
            "topology": network.topology.to_json(),
            "adapters": {
                "rank": adapters.rank,
                "alpha": adapters.alpha,
                "targets": adapters.lora.targets,
                "variant": adapters.lora.variant,
            },
        }
        kept = {name: os.environ[name] for name in ("PYTHONPATH", "HF_HUB_OFFLINE") if name in os.environ}
        options: dict[str, Any] = {
            "num_cpus": 1,
            "num_gpus": 1 if kind == "GPU" else 0,
            "max_restarts": -1,
            "scheduling_strategy": "SPREAD",
            "runtime_env": {"env_vars": kept},
        }
        made: Any = ray.remote(**options)(Sampler)
        self.workers = [made.remote(setup) for _ in range(count)]
        self._away: dict[int, Any] = {}
        self._lock = threading.Lock()
        self._sent: tuple[Any, int, Any] | None = None
        self._version = -1
        try:
            ray.get([worker.ready.remote() for worker in self.workers])
        except ray.exceptions.RayError as error:
            self.close()
            raise UsageError(f"the workers cannot start: {' '.join(str(error).split())[-300:]}") from None

    def sample(self, network: Network, batch: PromptBatch) -> list[Sampled]:
        """Raises EngineError where all workers stay away."""
        version, values = self._adapters(network)
        results: dict[int, Sampled] = {}
        missing: Sequence[int] = range(len(batch))
        while missing:
            part = batch.part(missing)
            workers = self._present()
            shares = part.shares(len(workers))
            asked = [
                (worker, share, self.workers[worker].sample.remote(version, values, part.part(share)))
                for worker, share in zip(workers, shares, strict=True)
                if share
            ]
            for worker, share, promise in asked:
                try:
                    said = self.ray.get(promise)
                except (self.ray.exceptions.RayActorError, self.ray.exceptions.WorkerCrashedError):
                    self._leave(worker)
                else:
                    results |= {missing[place]: one for place, one in zip(share, said, strict=True)}
            missing = [place for place in range(len(batch)) if place not in results]
        return merged([list(results)], [list(results.values())])

    def _adapters(self, network: Network) -> tuple[int, Any]:
        """The number of the network's adapters as they are now, and a reference to their values on the cluster."""
        assert network.adapters is not None
        flat_NP = network.adapters.flat_NP
        with self._lock:
            if self._sent is None or self._sent[0] is not flat_NP or self._sent[1] != flat_NP._version:
                self._version += 1
                self._sent = (flat_NP, flat_NP._version, self.ray.put(flat_NP.detach().cpu().numpy()))
            return self._version, self._sent[2]

    def _leave(self, worker: int) -> None:
        with self._lock:
            if worker not in self._away:
                self.lost += 1
                self._away[worker] = self.workers[worker].ready.remote()

    def _present(self) -> list[int]:
        """The workers that are there; waits for one where none is."""
        while True:
            with self._lock:
                waiting = dict(self._away)
            for worker, promise in waiting.items():
                if self.ray.wait([promise], timeout=0)[0]:
                    self._welcome(worker, promise)
            present = [worker for worker in range(len(self.workers)) if worker not in self._away]
            if present:
                return present
            if not self.ray.wait(list(waiting.values()), num_returns=1, timeout=PATIENCE_SECONDS)[0]:
                raise EngineError(f"all {len(self.workers)} workers have been gone for {PATIENCE_SECONDS:.0f} s")

    def _welcome(self, worker: int, promise: Any) -> None:
        """A lost worker has started again, or has failed again and is asked anew."""
        try:
            self.ray.get(promise)
            again = None
        except self.ray.exceptions.RayError:
            again = self.workers[worker].ready.remote()
        with self._lock:
            if again is None:
                self._away.pop(worker, None)
            else:
                self._away[worker] = again

    def notes(self) -> dict[str, float]:
        return {"workers": len(self.workers), "workers_lost": self.lost}

    def close(self) -> None:
        """End the workers, and the cluster where it was started for them."""
        for worker in getattr(self, "workers", ()):
            self.ray.kill(worker)
        if self._started:
            self.ray.shutdown()


def parse_workers(text: str) -> int:
    """How many workers `ray:N` asks for. Raises UsageError for anything else."""
    name, _, number = text.partition(":")
    if name != NAME or not number.isdecimal() or int(number) < 1:
        raise UsageError(f"--workers {text!r} is not of the form ray:N, with N from 1")
    return int(number)
