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
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any
from unittest.mock import patch

import numpy as np

from ...cases.case import Case
from ...cases.options import Options
from ...conventions.parameter_map import OwnMap
from ...runs.verdict import NO_EQUATIONS
from ..differentiated import arrays_of
from ..framework import Plain, imported
from ..protocol import Built, Inputs, Result
from ..ragged import Laid, arguments
from ..recurrence import Recurrence

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

    @property
    def own_cell(self) -> Recurrence:
        """What it carries; its parameters are those of the module."""
        states = {"y": "D", "conv": self.conv, "memory": self.memory}
        return Recurrence(self._shapes, states, "D")

    def version(self) -> str:
        """Return the distribution and its version; SubjectUnavailable if it is not there."""
        imported(self.module, INSTALL["transformers-layers"])
        return f"transformers {version('transformers')} (torch {version('torch')}), CPU"

    def cell(self, case: Case) -> str:
        """Return that it has no equations."""
        return NO_EQUATIONS

    def parameter_map(self, case: Case) -> OwnMap:
        """Return the map of its own arrays."""
        return OwnMap(self.own_cell, case)

    def caller(self, case: Case) -> str:
        """Return nothing: scripts of failures call it by gatewise."""
        return ""

    def build(self, case: Case) -> Built:
        """Return the layer, ready to be called."""
        return Laid(Plain(partial(self._run, self.make(case.D, case.H).eval(), case)))

    def _shapes(self, D: int, H: int) -> dict[str, tuple[int, ...]]:
        return {name: tuple(array.shape) for name, array in self.make(D, H).named_parameters()}

    def _run(self, mixer: Any, case: Case, inputs: Inputs) -> Result:
        """Call the mixer with a cache that holds the given states."""
        arrays, source = arrays_of("torch"), imported(self.module, INSTALL["transformers-layers"])
        torch, caches = (
            imported(each, INSTALL["transformers-layers"])
            for each in ("torch", "transformers.cache_utils")
        )
        own = {name.removesuffix("_l0"): arrays.into(a) for name, a in inputs.parameters.items()}
        layer = caches.LinearAttentionLayer()
        if inputs.state is not None:
            axes = self.own_cell.state_axes(case.sizes)
            _, conv, memory = (
                arrays.into(s[0]).reshape(-1, *a)
                for s, a in zip(inputs.state, axes, strict=True)
            )  # fmt: skip
            layer.update_conv_state(conv)
            layer.update_recurrent_state(memory)
        said = arguments(inputs, np.transpose, arrays.into)
        given = {"cache": caches.Cache(layers=[layer]), "attention_mask": said["attention_mask"]}
        x = arrays.into(inputs.x).transpose(0, 1)
        with arrays.setting(), torch.no_grad(), patch.multiple(source, **_unreplaced(source)):
            y = torch.func.functional_call(mixer, own, (x,), given).transpose(0, 1)
        kept = (y[-1], layer.conv_states[0], layer.recurrent_states[0])
        return Result(arrays.back(y), tuple(arrays.back(s.flatten(1))[None] for s in kept))


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
