"""The loop of a training, from questions to a folder of checkpoints (training.py has what comes before it).

One update: Q questions, G episodes of each, all nodes sampled at temperature 1 (rollout.py); each node's reward from
that of the answer (credit.py, shaping.py); advantages (the algorithm's file); a gradient step of all adapters, or as
many as `epochs` says (learner.py). Around it: a learning-rate schedule, a greedy validation now and then, a row of
metrics, an atomic checkpoint. With a curriculum the questions are those of the level it has reached, and each update's
mean reward is the success that it goes by. On a CPU the run is a function of its configuration: a killed and resumed
run writes the metrics of an uninterrupted one, byte for byte.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from copy import copy

import numpy as np

from neuromas_env.budget import Meter
from neuromas_env.task import Task
from neuromas_env.transcripts import TranscriptWriter

from .ahead import Ahead, snapshot
from .algorithm import Algorithm, FloatArray
from .checkpoint import TrainState, save_checkpoint
from .config import TrainConfig
from .credit import Credit
from .descent import carry_optimizer
from .diagnostics import node_statistics
from .distributed import Team
from .errors import NotFiniteError, TrainingError, TrainingStopped
from .experience import credited, play
from .gates import Gates
from .interrupt import StopRequest
from .learner import ALONE, Additions, StepReport, learn
from .metrics import MetricsLog, Row
from .network import Network
from .optimizer import StackedAdam
from .progress import Reporter
from .resampling import with_signal
from .resolve import longest_message
from .rollout import Rollout
from .run import Run
from .schedule import learning_rate
from .seeds import derive
from .shaping import Shaping
from .validation import validate, validation_size


class Trainer:
    """The loop of one run; `state` says which updates are done and is what a checkpoint holds."""

    def __init__(
        self,
        config: TrainConfig,
        task: Task,
        levels: Mapping[str, Task],
        network: Network,
        algorithm: Algorithm,
        credit: Credit,
        run: Run,
        team: Team,
        progress: bool,
        on_update: Callable[[Row], None] | None,
    ) -> None:
        self.config, self.task, self.levels, self.run = config, task, levels, run
        self.algorithm, self.credit, self.team = algorithm, credit, team
        self.progress, self.on_update = progress and team.first, on_update if team.first else None
        self.network = network
        self.state = TrainState(update=-1)
        curriculum = config.make_curriculum()
        self.curriculum = curriculum.start() if curriculum else None
        saved = run.latest
        if saved is not None:
            self.state = saved.state()
            self.state.finished = run.finished
            self.network = saved.network(network.backbone)
            self.network.engine = network.engine
            algorithm.bind(self.network, seed=config.seed, learning_rate=config.learning_rate)
            algorithm.restore(self.state.algorithm)
            algorithm.load_tensors(saved.algorithm_tensors())
            self.curriculum = curriculum.resume(self.state.curriculum) if curriculum else None
        assert self.network.adapters is not None
        self.optimizer = StackedAdam(self.network.adapters, config.learning_rate, betas=config.betas)
        if saved is not None:
            saved.load_optimizer(self.optimizer)
        elif config.parent is not None:
            carry_optimizer(config, self.optimizer)
        self.ahead = Ahead(config.staleness) if config.staleness else None
        self.validation_size = validation_size(task, config.validation_questions)
        self.micro_batch_tokens = config.micro_batch_tokens or int(run.record["micro_batch_tokens"])
        self.shaping = Shaping(
            config.format_reward,
            config.length_cost,
            config.silence_cost,
            longest_message(config, task, *levels.values()),
        )
        self.additions = Additions(config.entropy_bonus, config.kl, config.truncate)

    @property
    def progress_made(self) -> float:
        """How much of the training is done, in updates; with a token budget, its share of `updates`."""
        config, state = self.config, self.state
        if config.token_budget is None:
            return max(0, state.update)
        return config.updates * min(1.0, state.spent.get("sampled_tokens", 0) / config.token_budget)

    def train(self) -> None:
        config, state = self.config, self.state
        if state.finished:
            return
        log = MetricsLog(self.run.folder, state.update, tensorboard=config.tensorboard, wandb=config.wandb)
        title = f"{self.task.name} {self.network.topology}"
        reporter = Reporter(title, config.updates, int(self.progress_made), enabled=self.progress)
        try:
            with StopRequest() as stop, reporter:
                started, first = time.perf_counter(), self.progress_made
                while not state.finished and not self.team.any(stop.asked):
                    gates = self.network.gates
                    row, timings = self._untrained() if state.update < 0 else self._update(state.update + 1)
                    log.append(row, timings)
                    if self._checkpoint_due():
                        self._save(log)
                    done = self.progress_made
                    spent = (time.perf_counter() - started) / max(1.0, done - first)
                    reporter.row(row, done, spent * (config.updates - done))
                    if self.on_update is not None:
                        self.on_update(row)
                self._save(log)
        except NotFiniteError as error:
            self.network.gates = gates  # the update that failed is not part of what is kept
            self._save(log)
            raise TrainingError(
                f"update {state.update + 1}: {error}. Training stopped; everything up to update {state.update} is kept "
                f"in {self.run.folder}. --resume would meet it again: start another run (--out) with a lower "
                "--learning-rate or a longer --warmup"
            ) from None
        finally:
            log.close()
            if self.ahead is not None:
                self.ahead.end()
        if not state.finished:
            raise TrainingStopped(f"stopped after update {state.update}; add --resume to go on ({self.run.folder})")

    # ------------------------------------------------------------------ the parts of an update

    def _untrained(self) -> tuple[Row, dict[str, float]]:
        """Update 0: the network before training, judged."""
        started = time.perf_counter()
        row: Row = {"update": 0, **self._validate(0)}
        self._done(0, row, last=self.config.updates == 0)
        return row, {"validation_seconds": time.perf_counter() - started}

    def _update(self, update: int) -> tuple[Row, dict[str, float]]:
        config, network, curriculum = self.config, self.network, self.curriculum
        started = time.perf_counter()
        share = self._learning_rate_share()
        network.gates = self._gates(update)
        meter = Meter(**self.state.spent)
        first, rollout = with_signal(lambda number: self._roll_out(update, number, meter), self.algorithm.resample)
        sampled, rolled_out = time.perf_counter(), meter.calls
        rewards_QGC = self._credit(update, rollout, meter)
        credited = time.perf_counter()
        advantages_QGC = self.credit.advantages(self.algorithm, rollout, rewards_QGC)
        report = learn(
            network,
            self.optimizer,
            self.algorithm,
            rollout,
            advantages_QGC,
            learning_rate=config.learning_rate * share,
            temperature=config.temperature,
            clip=config.clip,
            micro_batch_tokens=self.micro_batch_tokens,
            mask_truncated=config.mask_truncated,
            epochs=config.epochs,
            additions=self.additions,
            share=share,
            team=ALONE if config.shard_backbone else self.team,  # a whole batch in each, or a share
        )
        network.gates = network.gates.drawn(None)
        learnt = time.perf_counter()
        row: Row = {
            "update": update,
            **({"level": curriculum.index + 1, "difficulty": curriculum.level} if curriculum else {}),
            "learning_rate": config.learning_rate * share,
            "reward": float(first.rewards_QG.mean()),
            "unparsed": first.unparsed,
            "questions_with_signal": float(np.mean(np.ptp(first.rewards_QG, axis=1) > 0)),
            "loss": report.loss,
            "trained": report.trained / max(1, len(rollout.samples)),
            "mismatch": report.mismatch,
            **self.algorithm.logs(rollout.rewards_QG, advantages_QGC[..., -1]),
            **report.fitted,
            "calls": meter.calls,
            "prompt_tokens": meter.prompt_tokens,
            "sampled_tokens": meter.sampled_tokens,
            "nodes": self._node_columns(rollout, rewards_QGC, report),
        }
        if self.ahead is not None:
            row["staleness"] = self.behind
        if meter.calls > rolled_out:
            row["credit_calls"] = meter.calls - rolled_out
        if rollout is not first:
            row["questions_learnt_from"] = len(rollout.questions)
        last = update >= config.updates
        if config.token_budget is not None:
            last = meter.sampled_tokens >= config.token_budget
        if update % config.validation_every == 0 or last:
            row |= self._validate(update)
        self.state.spent = {name: row[name] for name in ("calls", "prompt_tokens", "sampled_tokens")}
        self.curriculum = curriculum.record(row["reward"]) if curriculum else None
        self._done(update, row, last)
        timings = {
            "sample_seconds": sampled - started,
            "credit_seconds": credited - sampled,
            "learn_seconds": learnt - credited,
            "validation_seconds": time.perf_counter() - learnt,
            "samples_per_second": len(rollout.samples) / (learnt - started),
            **network.engine.notes(),
        }
        return row, timings

    def _learning_rate_share(self) -> float:
        """The learning rate of the next update, as a share of the highest."""
        config = self.config
        return learning_rate(
            self.progress_made + 1,
            config.updates,
            1.0,
            schedule=config.schedule,
            warmup=config.warmup,
            final=config.final_learning_rate,
        )

    def _gates(self, update: int) -> Gates:
        gates = self.network.gates.opened(self._opening(update))
        return gates.drawn(derive(self.config.seed, "gates", update))

    def _opening(self, update: int) -> float:
        """How far what was grown is open in an update."""
        config = self.config
        return {"silent": 0.0, "immediate": 1.0, "gradual": min(1.0, update / config.opening_updates)}[config.opening]

    @property
    def trained_task(self) -> Task:
        """What is trained on: the task, or the level that the curriculum has reached."""
        return self.levels[self.curriculum.level] if self.curriculum else self.task

    def _roll_out(self, update: int, number: int, meter: Meter) -> Rollout:
        if self.ahead is not None and not number:
            return self._sampled_ahead(self.ahead, update, meter)
        return play(self.config, self.network, self.trained_task, self.credit, update, meter, number=number)

    def _sampled_ahead(self, ahead: Ahead, update: int, meter: Meter) -> Rollout:
        """The batch of this update, while those of the next ones are begun with the network as it is now."""
        config, network, task = self.config, snapshot(self.network), self.trained_task

        def sample(coming: int, spent: Meter) -> Rollout:
            asked = copy(network)
            asked.gates = self._gates(coming)
            return play(config, asked, task, self.credit, coming, spent)

        ahead.begin(sample, update - 1, config.updates if config.token_budget is None else sys.maxsize)
        rollout, spent, self.behind = ahead.take(update)
        meter.calls += spent.calls
        meter.prompt_tokens += spent.prompt_tokens
        meter.sampled_tokens += spent.sampled_tokens
        return rollout

    def _credit(self, update: int, rollout: Rollout, meter: Meter) -> FloatArray:
        """The reward [Q, G, C] of every message, from the reward of the answer, less what the message costs."""
        terminal_QG = self.shaping.terminal(rollout)
        rewards_QGC = credited(
            self.config, self.network, self.trained_task, self.credit, update, rollout, terminal_QG, meter
        )
        return rewards_QGC - self.shaping.costs(rollout)

    def _node_columns(
        self, rollout: Rollout, rewards_QGC: FloatArray, report: StepReport
    ) -> dict[str, dict[str, float]]:
        nodes = node_statistics(rollout, self.network.topology.nodes)
        own_M = rollout.by_message(rewards_QGC)
        shared = self.credit.name == "shared" and self.shaping == Shaping(max_tokens=self.shaping.max_tokens)
        for index, (node, norm) in enumerate(zip(self.network.topology.nodes, report.gradient_norm_N, strict=True)):
            columns = nodes.setdefault(node, {})
            columns["gradient_norm"] = float(norm)
            if not shared and (rollout.node_M == index).any():
                columns["credit"] = float(own_M[rollout.node_M == index].mean())
        for node, values in report.statistics.items():
            nodes[node] |= values
        return nodes

    def _validate(self, update: int) -> dict[str, float]:
        if not self.validation_size:
            return {}
        config = self.config
        path = self.run.folder / "transcripts" / f"validation_{update}.jsonl"
        limit = config.transcript_episodes
        with TranscriptWriter(
            path, method=config.algorithm, seed=config.seed, limit=limit, make_folder=False
        ) as transcript:
            return validate(
                self.network,
                self.task,
                self.validation_size,
                max_tokens=config.max_tokens,
                instructions=config.instructions,
                transcript=transcript if limit else None,
            )

    def _done(self, update: int, row: Row, last: bool) -> None:
        """`update` is finished: from here on a checkpoint holds it."""
        state, accuracy = self.state, row.get("validation_accuracy")
        state.update, state.algorithm = update, self.algorithm.state()
        state.curriculum = self.curriculum.to_json() if self.curriculum else {}
        if accuracy is not None:
            better = state.best_accuracy is None or accuracy > state.best_accuracy
            state.without_best = 0 if better else state.without_best + 1
            if better:
                state.best_update, state.best_accuracy = update, accuracy
        state.finished = last or 0 < self.config.patience <= state.without_best

    def _checkpoint_due(self) -> bool:
        state = self.state
        return state.update % self.config.checkpoint_every == 0 or state.update == state.best_update or state.finished

    def _save(self, log: MetricsLog) -> None:
        log.sync()
        save_checkpoint(
            self.run.folder,
            self.network,
            self.optimizer,
            self.state,
            self.config.keep_checkpoints,
            self.algorithm.tensors(),
        )
