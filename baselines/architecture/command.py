"""`neuromas search`: find who should hear whom, with the learning algorithms that one knows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import FlagCreatePairsOff, Positional, arg

from neuromas_env.errors import UsageError

from ..commands import Data, Flag, Options, Range

Space = Literal["edges", "shape", "templates", "growth"]
Algorithm = Literal["ppo", "a2c", "dqn", "reinforce", "ridge", "random"]

DEFAULT_BUDGETS = {"edges": 800, "shape": 800, "templates": 800, "growth": 24}


def search(
    task: Annotated[str, Positional, arg(metavar="TASK")],
    space: Space = "edges",
    algorithm: Annotated[Algorithm | None, arg(metavar="NAME")] = None,
    evaluations: Annotated[int | None, arg(metavar="N")] = None,
    network: Annotated[Path | None, arg(metavar="RUN")] = None,
    base: Annotated[str | None, arg(metavar="TOPOLOGY")] = None,
    width: int = 3,
    rounds: int = 3,
    templates: Annotated[str | None, arg(metavar="TOPOLOGY,TOPOLOGY")] = None,
    transcripts: Annotated[tuple[Path, ...], arg(metavar="FILE ...")] = (),
    layerwise: Flag = False,
    start: Annotated[str, arg(metavar="TOPOLOGY")] = "1-1-1",
    stages: int = 4,
    stage_tokens: int = 15_000,
    train: Annotated[tuple[str, ...], arg(metavar="NAME=VALUE ...")] = (),
    price: float = 0.1,
    embedding: Literal["words", "backbone"] = "words",
    held_out: Annotated[int, arg(metavar="N")] = 200,
    floor: FlagCreatePairsOff[bool] = True,
    seed: int = 0,
    data: Data = None,
    difficulty: Range = None,
    task_options: Options = None,
    allow_code_execution: Flag = False,
    backbone: Annotated[str | None, arg(metavar="NAME")] = None,
    out: Annotated[Path | None, arg(metavar="FOLDER")] = None,
) -> None:
    """Search a network's topology as a neural architecture is searched, on training questions.

    An evaluation plays one training question through one topology (with --space growth: trains one stage). Its reward
    is the score less the price of its tokens. All algorithms spend the same number of evaluations; random search is run
    beside each, as the floor. The folder gets topology.json, which `train`, `grow` and `compare` take, the controller,
    results.json and two pictures. A search that was interrupted goes on when the same command is given again.

    Args:
        task: A task listed by `neuromas tasks`.
        space: What is chosen: which edges of a base network are there, the shape of a layered one, one of several
            templates, or how a network grows while it trains.
        algorithm: Who chooses: PPO, A2C or DQN of stable-baselines3 (DQN where one choice is made at a time),
            GPTSwarm's REINFORCE, ridge regression on random plans, or random search (ppo, a2c, dqn, reinforce,
            ridge, random). Without it, what was best on planted problems at this budget.
        evaluations: The budget: 800 without it, and 24 stages with --space growth.
        network: A trained run that speaks at the nodes; the edges of its topology are searched. Without it, the frozen
            backbone speaks.
        base: The network whose edges are searched, such as 1-1-1-1/all.
        width: The most nodes in a layer, with --space shape.
        rounds: The most hidden layers, with --space shape.
        templates: What is chosen from, with --space templates.
        transcripts: Choose from the topologies recorded in these files, by what was recorded; nothing is played.
        layerwise: Choose layer by layer, with an action that ends the network (ppo and a2c; edges and shape).
        start: Where growth begins.
        stages: The most stages of growth, the first included.
        stage_tokens: The sampled tokens of each stage of growth.
        train: Training options of the stages, such as learning_rate=1e-3; see `neuromas train --help`.
        price: What the largest network's whole token budget costs, in units of the score.
        embedding: How the algorithms of stable-baselines3 see a question: as its words, or through the backbone.
        held_out: Validation questions on which what was found is judged, beside the budget.
        floor: Run random search beside it, with a budget of its own.
        seed: Decides the questions, every draw, and the training of stages.
        data: A file of the task's published format, or a folder of such files.
        difficulty: How hard the questions are, for tasks that grade them.
        task_options: Further options of the task, such as shots 5.
        allow_code_execution: Run programs that models write, for tasks that are judged so; each runs locked in.
        backbone: The frozen model: nano, a Hugging Face id or a folder; without it, the run's own, or nano.
        out: The folder of the search; without it, runs/search-TASK-SPACE-ALGORITHM-seedN.
    """
    from rich.console import Console

    from ..commands import asked_as, interruptible, load_task
    from ..compare import check_writable
    from .folder import search_folder
    from .growth_setting import growth_setting
    from .optimisers import best_known
    from .setting import Setting, topology_setting

    problem = load_task(task, data, difficulty, task_options, allow_code_execution)
    budget = evaluations if evaluations is not None else DEFAULT_BUDGETS[space]
    chosen: str = algorithm or best_known(space, budget)
    folder = out or Path("runs") / f"search-{task}-{space}-{chosen}-seed{seed}".replace("/", "-")
    check_writable(folder, folder=True)
    given: dict[str, Any] = {"price": price, "seed": seed, "backbone": backbone}
    setting: Setting
    if space == "growth":
        for name, value in {"network": network, "base": base, "templates": templates, "transcripts": transcripts,
                            "layerwise": layerwise}.items():  # fmt: skip
            if value:
                raise UsageError(f"--{name} has no meaning with --space growth, which trains its own networks")
        asked = asked_as(data, difficulty, task_options, allow_code_execution)
        setting = growth_setting(problem, folder, asked, train, start, stages, stage_tokens, **given)
    else:
        setting = topology_setting(
            problem,
            space,
            network,
            base,
            width,
            rounds,
            templates,
            transcripts,
            layerwise,
            embedding,
            held_out,
            **given,
        )
    floor = floor and chosen != "random"
    setting.check(chosen, budget, floor=floor)
    console = Console(file=sys.stderr, soft_wrap=True)
    identity = {**setting.identity, "algorithm": chosen, "evaluations": budget, "price": price, "seed": seed}
    with search_folder(folder, identity), interruptible(console), console.status("searching"):
        lines = setting.run(chosen, budget, folder, floor=floor)
    print("\n".join(lines))
    print(f"written: {folder / 'topology.json'}, results.json, search.png, topologies.png")
