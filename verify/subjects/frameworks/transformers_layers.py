"""Whole mixers of transformers' language models, with their convolutions, caches and masks.

They are no cells of the catalogue, so their numbers are judged by their own: pieces of a sequence,
rows and padding must give what one call gives. What a mixer keeps between calls is in a cache of
transformers' own, which is filled anew from the states that are given: a first state, which is the
output and which no step reads, the last inputs of the convolution, and the memory.

Caches are written in place and are for inference, so no gradients are asked for. Padding in front,
with an ``attention_mask``, is held in calls without a state alone: generation makes no others.
Recurrences by themselves are in ``linear_recurrences``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from typing import Any
from unittest.mock import patch

from ...cases.case import Case
from ...cases.options import Options
from ...conventions.parameter_map import ParameterMap
from ...runs.verdict import NO_EQUATIONS
from ..declared import Declaration, Declared, declared, module_parameters
from ..framework import imported
from ..protocol import Built

FAMILIES = {"transformers-layers": ("transformers", "torch")}
INSTALL = {"transformers-layers": "transformers torch"}
MODELS = "transformers.models"

KERNEL = 3
"""Steps that the convolutions see."""

CHUNK = 4
"""Steps of a chunk: few, so that short sequences have several."""

OPTIONS = Options(
    layers=False, bidirectional=False, bias=False, lengths=False, left_padding=True,
    gradient=False, equations=False, reasons=(("gradient", "caches are written in place"),),
)  # fmt: skip

Make = Callable[[int, int], Any]
"""Makes a mixer for widths D and H."""


@dataclass(frozen=True)
class Mixer:
    """A mixer: how one is made, and the axes of its convolution's inputs and of its memory."""

    name: str
    module: str
    make: Make
    conv: str
    memory: str
    options: Options = OPTIONS
    dtypes: tuple[str, ...] = ("float32",)  # they compute in float32, whatever they are given

    @property
    def cells(self) -> tuple[str, ...]:
        """Return that it has no equations."""
        return (NO_EQUATIONS,)

    def version(self) -> str:
        """Return the distribution and its version; SubjectUnavailable if it is not there."""
        imported(self.module, INSTALL["transformers-layers"])
        return f"transformers {version('transformers')} (torch {version('torch')}), CPU"

    def loaded(self) -> Declared:
        """Return the subject; SubjectUnavailable if its package is not there."""
        said, layer = self.version(), self._layer()
        layer.version = said
        states = {"y": "D", "conv": self.conv, "memory": self.memory}
        shapes = partial(module_parameters, layer)
        own = Declaration(None, parameters=shapes, states=states, axes="BTD", gradient="torch")
        found = declared(layer, self.name, own)
        reasons = (*found.options.reasons, *self.options.reasons)
        options = replace(found.options, left_padding_state=False, gradient=False, reasons=reasons)
        return replace(found, options=options, dtypes=self.dtypes)

    def _layer(self) -> Any:
        torch, make = imported("torch", INSTALL["transformers-layers"]), self.make
        source = imported(self.module, INSTALL["transformers-layers"])
        caches = imported("transformers.cache_utils", INSTALL["transformers-layers"])

        class Layer(torch.nn.Module):  # type: ignore[misc, name-defined]
            version = ""

            def __init__(self, D: int, H: int) -> None:
                super().__init__()
                self.mixer = make(D, H)

            def forward(self, x: Any, state: Any = None, attention_mask: Any = None) -> Any:
                layer = caches.LinearAttentionLayer()
                if state is not None:
                    _, conv, memory = state
                    layer.update_conv_state(conv.clone())
                    layer.update_recurrent_state(memory.clone())
                cache = caches.Cache(layers=[layer])
                with patch.multiple(source, **_unreplaced(source)):
                    y = self.mixer(x, cache=cache, attention_mask=attention_mask)
                (conv,), (memory,) = layer.conv_states.values(), layer.recurrent_states.values()
                return y, (y[:, -1], conv, memory)

        return Layer

    def cell(self, case: Case) -> str:
        """Return that it has no equations."""
        return NO_EQUATIONS

    def parameter_map(self, case: Case) -> ParameterMap:
        """Return the map of its own arrays."""
        return self.loaded().parameter_map(case)

    def caller(self, case: Case) -> str:
        """Return nothing: scripts of failures call it by gatewise."""
        return ""

    def build(self, case: Case) -> Built:
        """Return the layer, ready to be called."""
        return self.loaded().build(case)


def _unreplaced(source: Any) -> dict[str, Any]:
    """Return functions of a module themselves, not what replaces them where there are kernels."""
    wrapped = {name: each for name, each in vars(source).items() if inspect.isfunction(each)}
    return {n: inspect.unwrap(f) for n, f in wrapped.items() if hasattr(f, "__wrapped__")}


def _found(module: str, *names: str) -> tuple[Any, ...]:
    source = imported(f"{MODELS}.{module}", INSTALL["transformers-layers"])
    return tuple(getattr(source, name) for name in names)


def _mamba(D: int, H: int) -> Any:
    config, mixer = _found("mamba.modeling_mamba", "MambaConfig", "MambaMixer")
    settings = config(
        hidden_size=D, state_size=H, conv_kernel=KERNEL, expand=2, time_step_rank=D,
        use_conv_bias=True, num_hidden_layers=1,
    )  # fmt: skip
    return mixer(settings, layer_idx=0)


def _mamba2(D: int, H: int) -> Any:
    config, mixer = _found("mamba2.modeling_mamba2", "Mamba2Config", "Mamba2Mixer")
    settings = config(
        hidden_size=D, state_size=H, conv_kernel=KERNEL, expand=2, num_heads=D, head_dim=2,
        n_groups=1, chunk_size=CHUNK, use_conv_bias=True, num_hidden_layers=1,
    )  # fmt: skip
    return mixer(settings, layer_idx=0)


def _qwen3_next(D: int, H: int) -> Any:
    config, mixer = _found(
        "qwen3_next.modeling_qwen3_next", "Qwen3NextConfig", "Qwen3NextGatedDeltaNet"
    )
    settings = config(
        hidden_size=D, linear_conv_kernel_dim=KERNEL, linear_key_head_dim=H,
        linear_value_head_dim=H, linear_num_key_heads=1, linear_num_value_heads=2,
        num_hidden_layers=1, layer_types=["linear_attention"],
    )  # fmt: skip
    return mixer(settings, layer_idx=0)


SUBJECTS = (
    Mixer("transformers-layers:Mamba", f"{MODELS}.mamba.modeling_mamba", _mamba,
          f"2D {KERNEL}", "2D H"),
    Mixer("transformers-layers:Mamba2", f"{MODELS}.mamba2.modeling_mamba2", _mamba2,
          f"2D+2H {KERNEL}", "D 2 H"),
    Mixer("transformers-layers:Qwen3Next", f"{MODELS}.qwen3_next.modeling_qwen3_next",
          _qwen3_next, f"4H {KERNEL}", "2 H H"),
)  # fmt: skip
