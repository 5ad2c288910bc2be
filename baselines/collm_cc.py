"""CoLLM-CC: two cooperating agents with one centralized critic, that is MAAC (Liu et al., the library CoMLRL).

A helper speaks first, and the main agent hears it and answers, as in `magrpo.py`, which says why. The critic reads all
that was said and predicts the joint return; it is a baseline of training only, its parameters are no part of the
network's and are reported apart (`algorithms/critic.py`). The paper of NeuroMAS (arXiv 2605.16757) names this system
among its baselines and gives no settings; those of the algorithm are in `algorithms/ppo.py`.
"""

from __future__ import annotations

from .magrpo import MAGRPO


class CoLLMCC(MAGRPO):
    name = "collm-cc"
    summary = "a helper and a main agent, trained with a centralized critic (MAAC)"
    algorithm = "maac"
