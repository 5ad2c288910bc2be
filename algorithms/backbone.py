"""The frozen language model under a network: any Hugging Face causal model whose attention goes through the attention
interface (Llama, Qwen3, Gemma 3 …), the embedded `nano` model included, with its tokenizer and its end tokens.

Three things are done to the model, none of which changes what it computes when called plainly, but for rounding: its
linear layers can be routed through stacked adapters (`RoutedLinear`), its norms and gated units take fewer passes over
memory (`fused.py`), and the attention implementation `neuromas` is registered (`attention.py`), which is switched on
only inside `Backbone.forward` and `Backbone.features`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from huggingface_hub.utils import logging as hub_logging
from jinja2 import TemplateError
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils import CONFIG_NAME, cached_file, logging

from neuromas_env.errors import BackboneError, UsageError

from .attention import IMPLEMENTATION, Layout
from .engines import Engine, make_engine
from .engines.choose import TRANSFORMERS
from .engines.openai import ChatServer, ServedModel
from .fused import fuse
from .memory import keep_freed_memory
from .products import Linear
from .recompute import Recomputed

if TYPE_CHECKING:
    from neuromas_env.node import NodeRequest

NANO = "nano"
EMBEDDED = {NANO: Path(__file__).parent / "nano_model", "nano-tree": Path(__file__).parent / "nano_tree_model"}
"""Backbones that come with this package, by name. The second is of another architecture and size, and knows trees."""
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
LAYER_TYPES = {"full_attention", "sliding_attention"}


def pinned(name: str, revision: str | None) -> str:
    """The name of a backbone at a revision of the hub, where there is one, as `load_backbone` takes it."""
    return f"{name}@{revision}" if revision else name


class Route(Protocol):
    """What a routed linear layer asks for its output while adapters are active.

    `leaf` ties what the adapters compute to the autograd graph. A layer without an adapter gets None.
    """

    leaf: Tensor

    def linear(self, site: str, x: Tensor) -> Tensor | None: ...


class Router:
    """The adapters that are active on one backbone, if any. One forward pass at a time."""

    def __init__(self) -> None:
        self.route: Route | None = None


class RoutedLinear(Linear):
    """A linear layer that hands over to the active route; where that has no adapter for it, it is a plain one."""

    site: str
    router: Router

    def forward(self, x: Tensor) -> Tensor:
        route = self.router.route
        y = None if route is None else route.linear(self.site, x)
        return super().forward(x) if y is None else y


@dataclass(frozen=True)
class Backbone:
    """A frozen causal language model and its tokenizer. It may serve several networks, one pass at a time.

    `eos_ids` are all ids that end a message (generation config and tokenizer); `targets` are the linear layers that
    carry adapters, by module name, in the order of the model.
    """

    model: PreTrainedModel
    tokenizer: Any
    eos_ids: tuple[int, ...]
    pad_id: int
    name: str
    revision: str
    targets: dict[str, RoutedLinear] = field(repr=False)
    router: Router = field(repr=False)
    engine: Engine = field(default_factory=make_engine, repr=False)
    """What samples for networks on this backbone."""
    lockstep: Callable[[Tensor], None] | None = field(default=None, repr=False)
    """Where the weights are divided over processes (sharding.py): gives a tensor the first one's values, so that all
    make the same passes. The weights cannot be read between passes then."""

    @classmethod
    def wrap(cls, model: PreTrainedModel, tokenizer: Any, name: str, revision: str = "") -> Backbone:
        """Freeze `model` and prepare it. Raises BackboneError for an architecture that is not supported."""
        _check_supported(model, name)
        model.requires_grad_(False).eval()
        router = Router()
        targets: dict[str, RoutedLinear] = {}
        decoder = {id(module) for module in model.get_decoder().modules()}  # no vision towers
        for site, module in model.named_modules():
            if isinstance(module, nn.Linear) and site.rsplit(".", 1)[-1] in TARGETS and id(module) in decoder:
                module.__class__ = RoutedLinear  # parameters, names and plain behaviour stay as they are
                routed: RoutedLinear = module  # type: ignore[assignment]
                routed.site, routed.router = site, router
                targets[site] = routed
        if type(head := model.get_output_embeddings()) is nn.Linear:
            head.__class__ = Linear
        fuse(model.get_decoder())
        if not targets:
            raise BackboneError(f"backbone {name!r} has none of the linear layers that carry adapters: {TARGETS}")
        eos_ids = _eos_ids(model, tokenizer)
        if not eos_ids:
            raise BackboneError(f"backbone {name!r} names no end token, in neither generation config nor tokenizer")
        pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else eos_ids[0]
        if model.device.type == "cpu":
            keep_freed_memory()
        return cls(model, tokenizer, eos_ids, pad_id, name, revision, targets, router)

    @property
    def pinned(self) -> str:
        """By what name exactly this model is loaded again."""
        return pinned(self.name, self.revision)

    @property
    def source(self) -> str:
        """Where its files are: a folder, or an id of the hub."""
        return str(EMBEDDED.get(self.name, self.name))

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype

    @property
    def max_length(self) -> int | None:
        """The longest prompt with its message, in tokens; None where the model states none."""
        length: int | None = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return length

    @property
    def cache_bytes(self) -> int:
        """The bytes of keys and values that one token takes."""
        config = self.model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return int(2 * config.num_hidden_layers * heads * head_dim * self.dtype.itemsize)

    def checkpoint_activations(self, on: bool = True) -> None:
        """Whether training passes keep only the input of each decoder layer and recompute the rest (`recompute.py`).

        Gradients stay the same; memory falls, time rises by about a forward pass. All other passes are unaffected.
        """
        for layer in self.model.get_decoder().layers:
            vars(layer).pop("forward", None)
            if on:
                layer.forward = Recomputed(layer, self.router, self._routed)

    def forward(
        self, input_ids_L: Tensor, position_ids_L: Tensor, keep_K: Tensor, layout: Layout, route: Route | None
    ) -> Tensor:
        """The logits [K, V] at the places `keep_K` of a flat batch of L tokens whose structure `layout` knows."""
        output = self._run(self.model, input_ids_L, position_ids_L, layout, route, logits_to_keep=keep_K)
        logits: Tensor = output.logits.squeeze(0)  # the gradient of [0] would be written into zeros
        return logits

    def features(
        self, input_ids_L: Tensor, position_ids_L: Tensor, keep_K: Tensor, layout: Layout, route: Route | None
    ) -> Tensor:
        """The last hidden states [K, d], after the final norm, at the places `keep_K`: `forward` without its head."""
        output = self._run(self.model.get_decoder(), input_ids_L, position_ids_L, layout, route)
        hidden: Tensor = output.last_hidden_state.squeeze(0)
        return hidden.index_select(0, keep_K)

    def _run(
        self,
        model: PreTrainedModel,
        input_ids_L: Tensor,
        position_ids_L: Tensor,
        layout: Layout,
        route: Route | None,
        **options: Any,
    ) -> Any:
        with self._routed(route):
            return model(
                input_ids=input_ids_L[None],
                position_ids=position_ids_L[None],
                use_cache=False,
                layout=layout,
                **options,
            )

    @contextmanager
    def _routed(self, route: Route | None) -> Iterator[None]:
        """Inside, linear layers ask `route` for their output and attention is that of flat batches."""
        config = self.model.config
        before = self.router.route, config._attn_implementation
        self.router.route, config._attn_implementation = route, IMPLEMENTATION
        try:
            yield
        finally:
            self.router.route, config._attn_implementation = before

    def encode_request(self, request: NodeRequest) -> list[int]:
        return self.encode_requests([request])[0]

    def encode_requests(self, requests: Sequence[NodeRequest]) -> list[list[int]]:
        """The prompt of each request as token ids: by the chat template where there is one, else as plain text."""
        has_template = bool(getattr(self.tokenizer, "chat_template", None))
        prompts: list[str] = []
        for request in requests:
            if has_template:
                prompts.append(_render(self.tokenizer, *(turn["content"] for turn in request.chat)))
            else:
                prompts.append(request.prompt)
        distinct = list(dict.fromkeys(prompts))
        encoded = self.tokenizer(distinct, add_special_tokens=not has_template)["input_ids"] if distinct else []
        ids = dict(zip(distinct, encoded, strict=True))
        return [ids[prompt] for prompt in prompts]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of sampled ids, without special tokens and surrounding white space."""
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        return text.strip()

    def weight_hash(self) -> str:
        """SHA-256 over the names and bytes of all weights."""
        return self._weight_hash

    @cached_property
    def _weight_hash(self) -> str:  # the weights are frozen, and hashing gigabytes takes seconds
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


@lru_cache(maxsize=4096)
def _render(tokenizer: Any, system: str, user: str) -> str:
    turns = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    try:
        return _apply(tokenizer, turns)
    except TemplateError:  # templates that know no system turn
        return _apply(tokenizer, [{"role": "user", "content": f"{system}\n\n{user}"}])


def _apply(tokenizer: Any, turns: list[dict[str, str]]) -> str:
    text: str = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    return text


@contextmanager
def _quiet(local: bool) -> Iterator[None]:
    """Without the retry warnings of the hub and, for a local model, without progress bars: an error is one line."""
    shown, level = logging.is_progress_bar_enabled(), hub_logging.get_verbosity()
    hub_logging.set_verbosity_error()
    if local:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        hub_logging.set_verbosity(level)
        if local and shown:
            logging.enable_progress_bar()


def load_backbone(
    name: str = NANO, dtype: str = "float32", device: str = "cpu", engine: str = TRANSFORMERS
) -> Backbone:
    """Load a backbone by name: "nano" or "nano-tree" (embedded), a local folder, or an id of the Hugging Face hub,
    which a revision may follow ("Qwen/Qwen3-0.6B@c1899de"). `engine` samples for networks on it (engines/).

    Raises BackboneError, in one line, when it cannot be reached, read or used, UsageError for an unknown engine.
    """
    sampler = make_engine(engine, name)
    if isinstance(sampler, ChatServer):
        if name in EMBEDDED:
            raise UsageError(f"engine 'openai' serves no {name!r}: --backbone takes the name that the server knows")
        return cast(Backbone, ServedModel(name, sampler, sampler.url))
    if not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise BackboneError(f"unknown dtype {dtype!r}: float32, bfloat16 or float16")
    source, revision = str(EMBEDDED.get(name, name)), None
    if not Path(source).exists() and "@" in source:
        source, _, revision = source.partition("@")
    if name in EMBEDDED and not EMBEDDED[name].is_dir():
        raise BackboneError(
            f"the embedded backbone {name!r} is missing from this installation; `neuromas pretrain-nano` makes it"
        )
    try:
        with _quiet(local=Path(source).is_dir()):
            config = AutoConfig.from_pretrained(source, revision=revision)
            tokenizer = AutoTokenizer.from_pretrained(source, revision=revision)
            model: Any = AutoModelForCausalLM.from_pretrained(
                source, config=config, revision=revision, dtype=getattr(torch, dtype)
            )
        model.to(device)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise BackboneError(
            f"cannot load backbone {name!r} (known: {', '.join(map(repr, EMBEDDED))}, a folder with a Hugging Face "
            f"model, or a hub id that can be reached, with @REVISION if wanted): {reason}"
        ) from error
    backbone = Backbone.wrap(model, tokenizer, name if revision is None else source, _commit(source, revision))
    return replace(backbone, engine=sampler)


def _commit(source: str, revision: str | None) -> str:
    """The commit of the hub that a loaded model is of, which its place in the cache tells; "" for a local folder."""
    if Path(source).is_dir():
        return ""
    config = cached_file(source, CONFIG_NAME, revision=revision)
    snapshot = Path(config or "").parent
    return snapshot.name if snapshot.parent.name == "snapshots" else ""


def _eos_ids(model: PreTrainedModel, tokenizer: Any) -> tuple[int, ...]:
    generation = getattr(model, "generation_config", None)
    listed = getattr(generation, "eos_token_id", None)
    ids = [] if listed is None else list(listed) if isinstance(listed, list | tuple) else [listed]
    if tokenizer.eos_token_id is not None:
        ids.append(tokenizer.eos_token_id)
    return tuple(dict.fromkeys(int(i) for i in ids))


def _check_supported(model: PreTrainedModel, name: str) -> None:
    config = model.config.get_text_config()
    plain = getattr(model, "_supports_attention_backend", False)
    plain &= not set(getattr(config, "layer_types", None) or ()) - LAYER_TYPES
    plain &= getattr(config, "attn_logit_softcapping", None) is None
    plain &= not any(parameter.endswith("sinks") for parameter, _ in model.named_parameters())
    if not plain:
        raise BackboneError(
            f"backbone {name!r} ({type(model).__name__}) is not supported: its layers must be plain causal attention "
            "that goes through the attention interface of transformers (Llama, Qwen3, Gemma 3 …)"
        )
