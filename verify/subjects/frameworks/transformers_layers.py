"""Complete mixers of transformers' language models, with their convolutions, caches and masks.

They are not in the catalogue, so they are compared with themselves: pieces of a sequence, rows and
padding must give the numbers of one call. A mixer keeps its state in transformers' cache, which the
adapter fills before each call. The states are the output, which no step reads, the last inputs of
the convolution, and the memory.

Caches are written in place for inference, so there are no gradients. Padding at the start, with an
``attention_mask``, is offered for calls without a state alone, as generation makes them.
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
from ..protocol import Built, Inputs, OneCell, Result
from ..ragged import RaggedLayer, ragged_arguments
from ..recurrence import Recurrence

FAMILIES = {"transformers-layers": ("transformers", "torch")}
INSTALL = {"transformers-layers": "transformers torch"}
MODELS = "transformers.models"

KERNEL = 3
"""Steps in the window of the convolutions."""

CHUNK = 4
"""Steps of a chunk: few, so that short sequences have several chunks."""

OPTIONS = Options(
    layers=False, bidirectional=False, bias=False, lengths=False, left_padding=True,
    gradient=False, equations=False, reasons=(("gradient", "caches are written in place"),),
)  # fmt: skip

Settings = Callable[[int, int], dict[str, Any]]
"""Functions that return a configuration for widths D and H."""


@dataclass(frozen=True)
class Mixer(OneCell):
    """A mixer: its module, its class and that of its configuration, and its configuration.

    ``conv`` and ``memory`` are the axes of its convolution's inputs and of its memory.
    """

    name: str
    module: str
    kind: str
    configuration: str
    settings: Settings
    conv: str
    memory: str
    options: Options = OPTIONS
    dtypes: tuple[str, ...] = ("float32",)  # they compute in float32 for all dtypes

    @property
    def cells(self) -> tuple[str, ...]:
        """The name for recurrences without equations."""
        return (NO_EQUATIONS,)

    @property
    def own_cell(self) -> Recurrence:
        """The recurrence of its states and of the module's parameters."""
        states = {"y": "D", "conv": self.conv, "memory": self.memory}
        return Recurrence(self._shapes, states, "D")

    def version(self) -> str:
        """Return the distribution and its version; SubjectUnavailable if it is not installed."""
        imported(self.module, INSTALL["transformers-layers"])
        return f"transformers {version('transformers')} (torch {version('torch')}), CPU"

    def parameter_map(self, case: Case) -> OwnMap:
        """Return the map of its own arrays."""
        return OwnMap(self.own_cell, case)

    def make(self, D: int, H: int) -> Any:
        """Construct the mixer for these widths."""
        source = imported(self.module, INSTALL["transformers-layers"])
        configuration = getattr(source, self.configuration)
        settings = configuration(num_hidden_layers=1, **self.settings(D, H))
        return getattr(source, self.kind)(settings, layer_idx=0)

    def build(self, case: Case) -> Built:
        """Return the layer, ready to be called."""
        return RaggedLayer(Plain(partial(self._run, self.make(case.D, case.H).eval(), case)))

    def _shapes(self, D: int, H: int) -> dict[str, tuple[int, ...]]:
        return {name: tuple(array.shape) for name, array in self.make(D, H).named_parameters()}

    def _run(self, mixer: Any, case: Case, inputs: Inputs) -> Result:
        """Call the mixer with a cache that holds the initial states."""
        arrays, source = arrays_of("torch"), imported(self.module, INSTALL["transformers-layers"])
        torch, caches = (
            imported(package, INSTALL["transformers-layers"])
            for package in ("torch", "transformers.cache_utils")
        )
        parameters = {
            name.removesuffix("_l0"): arrays.into(a) for name, a in inputs.parameters.items()
        }
        layer = caches.LinearAttentionLayer()
        if inputs.state is not None:
            axes = self.own_cell.state_axes(case.sizes)
            _, conv, memory = (
                arrays.into(s[0]).reshape(-1, *a)
                for s, a in zip(inputs.state, axes, strict=True)
            )  # fmt: skip
            layer.update_conv_state(conv)
            layer.update_recurrent_state(memory)
        mask = ragged_arguments(inputs, np.transpose, arrays.into)["attention_mask"]
        options = {"cache": caches.Cache(layers=[layer]), "attention_mask": mask}
        x = arrays.into(inputs.x).transpose(0, 1)
        with arrays.setting(), torch.no_grad(), patch.multiple(source, **_unreplaced(source)):
            y = torch.func.functional_call(mixer, parameters, (x,), options).transpose(0, 1)
        final = (y[-1], layer.conv_states[0], layer.recurrent_states[0])
        return Result(arrays.back(y), tuple(arrays.back(s.flatten(1))[None] for s in final))


def _unreplaced(source: Any) -> dict[str, Any]:
    """Return a module's functions without the wrappers that replace them where kernels exist."""
    wrapped = {name: value for name, value in vars(source).items() if inspect.isfunction(value)}
    return {n: inspect.unwrap(f) for n, f in wrapped.items() if hasattr(f, "__wrapped__")}


def _mamba(D: int, H: int) -> dict[str, Any]:
    return {"hidden_size": D, "state_size": H, "conv_kernel": KERNEL, "expand": 2,
            "time_step_rank": D, "use_conv_bias": True}  # fmt: skip


def _mamba2(D: int, H: int) -> dict[str, Any]:
    return {"hidden_size": D, "state_size": H, "conv_kernel": KERNEL, "expand": 2, "num_heads": D,
            "head_dim": 2, "n_groups": 1, "chunk_size": CHUNK, "use_conv_bias": True}  # fmt: skip


def _qwen3_next(D: int, H: int) -> dict[str, Any]:
    return {"hidden_size": D, "linear_conv_kernel_dim": KERNEL, "linear_key_head_dim": H,
            "linear_value_head_dim": H, "linear_num_key_heads": 1, "linear_num_value_heads": 2,
            "layer_types": ["linear_attention"]}  # fmt: skip


SUBJECTS = (
    Mixer("transformers-layers:Mamba", f"{MODELS}.mamba.modeling_mamba",
          "MambaMixer", "MambaConfig", _mamba, f"2D {KERNEL}", "2D H"),
    Mixer("transformers-layers:Mamba2", f"{MODELS}.mamba2.modeling_mamba2",
          "Mamba2Mixer", "Mamba2Config", _mamba2, f"2D+2H {KERNEL}", "D 2 H"),
    Mixer("transformers-layers:Qwen3Next", f"{MODELS}.qwen3_next.modeling_qwen3_next",
          "Qwen3NextGatedDeltaNet", "Qwen3NextConfig", _qwen3_next, f"4H {KERNEL}", "2 H H"),
)  # fmt: skip
