"""Engines: where messages are sampled. Training always runs on the backbone's own weights, in this process.

    transformers          the loaded backbone itself, on CPU or GPU (the default)
    vllm, vllm:URL        vLLM, in this process or as a server; one adapter a node
    openai:URL            any server that speaks the OpenAI chat interface; frozen networks and workflows only
    scripted:FILE         fixed texts by node, for tests and floors

The same names are typed at `--engine` and given to `load_backbone(engine=...)`.
"""

from .base import Capabilities, Engine, PromptBatch, TokenEngine
from .choose import ENGINES, make_engine

__all__ = ["ENGINES", "Capabilities", "Engine", "PromptBatch", "TokenEngine", "make_engine"]
