"""The built-in tasks by name, without importing any of them: single tasks, and families of tasks `family/member`.

A family's class takes the member's name as its first argument.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

SINGLE = {
    "arc_challenge": "arc:ArcChallenge",
    "boolean": "boolean:Boolean",
    "chain": "chain:Chain",
    "dyck": "dyck:Dyck",
    "gsm8k": "gsm8k:Gsm8k",
    "humaneval": "humaneval:HumanEval",
    "listops": "listops:ListOps",
    "math500": "math500:Math500",
    "mbpp": "mbpp:Mbpp",
    "multi_hop": "multi_hop:MultiHop",
    "navigate": "navigate:Navigate",
    "sorting": "sorting:Sorting",
    "tree": "tree:Tree",
}
"""Each task's module in this folder, and its class."""

FAMILIES = {"bbh": "bbh:Bbh", "mmlu": "mmlu:Mmlu", "rg": "rg:ReasoningGym"}

BBH = (
    "boolean_expressions",
    "causal_judgement",
    "date_understanding",
    "disambiguation_qa",
    "dyck_languages",
    "formal_fallacies",
    "geometric_shapes",
    "hyperbaton",
    "logical_deduction_five_objects",
    "logical_deduction_seven_objects",
    "logical_deduction_three_objects",
    "movie_recommendation",
    "multistep_arithmetic_two",
    "navigate",
    "object_counting",
    "penguins_in_a_table",
    "reasoning_about_colored_objects",
    "ruin_names",
    "salient_translation_error_detection",
    "snarks",
    "sports_understanding",
    "temporal_sequences",
    "tracking_shuffled_objects_five_objects",
    "tracking_shuffled_objects_seven_objects",
    "tracking_shuffled_objects_three_objects",
    "web_of_lies",
    "word_sorting",
)

MMLU = (
    "abstract_algebra",
    "anatomy",
    "astronomy",
    "business_ethics",
    "clinical_knowledge",
    "college_biology",
    "college_chemistry",
    "college_computer_science",
    "college_mathematics",
    "college_medicine",
    "college_physics",
    "computer_security",
    "conceptual_physics",
    "econometrics",
    "electrical_engineering",
    "elementary_mathematics",
    "formal_logic",
    "global_facts",
    "high_school_biology",
    "high_school_chemistry",
    "high_school_computer_science",
    "high_school_european_history",
    "high_school_geography",
    "high_school_government_and_politics",
    "high_school_macroeconomics",
    "high_school_mathematics",
    "high_school_microeconomics",
    "high_school_physics",
    "high_school_psychology",
    "high_school_statistics",
    "high_school_us_history",
    "high_school_world_history",
    "human_aging",
    "human_sexuality",
    "international_law",
    "jurisprudence",
    "logical_fallacies",
    "machine_learning",
    "management",
    "marketing",
    "medical_genetics",
    "miscellaneous",
    "moral_disputes",
    "moral_scenarios",
    "nutrition",
    "philosophy",
    "prehistory",
    "professional_accounting",
    "professional_law",
    "professional_medicine",
    "professional_psychology",
    "public_relations",
    "security_studies",
    "sociology",
    "us_foreign_policy",
    "virology",
    "world_religions",
)


@cache
def members(family: str) -> tuple[str, ...]:
    """The members of a family, sorted."""
    match family:
        case "bbh":
            return BBH
        case "mmlu":
            return MMLU
        case _:
            verdicts = json.loads((Path(__file__).parent / "rg_datasets.json").read_text(encoding="utf-8"))
            return tuple(sorted(verdicts["admitted"]))


@cache
def builtin_names() -> tuple[str, ...]:
    """The ids of all built-in tasks."""
    return (*SINGLE, *(f"{family}/{member}" for family in FAMILIES for member in members(family)))
