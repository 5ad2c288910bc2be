"""Rejection-sampling fine-tuning of a single model (Yuan et al., arXiv 2308.01825; Dong et al., 2304.06767).

One node samples answers and learns from the right ones by imitation (`algorithms/sft.py`). It has the budgets of
`single-rl`, with which it shares everything else, so that the two rows tell apart what wrong answers teach. A network
is trained in this way by `neuromas:TOPOLOGY:algorithm=sft`.
"""

from __future__ import annotations

from .single_rl import SingleRL


class SFT(SingleRL):
    name = "sft"
    summary = "one model that imitates its own right answers, with the budgets of single-rl"
    algorithm = "sft"
