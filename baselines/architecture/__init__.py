"""Searching a network's graph as one searches a neural architecture: optimisers, a shared budget, and the command.

The environments stand in `neuromas_env/search`. Here are a problem with its budget of evaluations (`problem.py`,
`ledger.py`), the optimisers of whole plans (`plans.py`: random search, ridge regression, REINFORCE), those of
stable-baselines3 (`sb3.py`, `vec_env.py`), growth by training (`growth.py`), and the command with its pictures.
"""

from __future__ import annotations
