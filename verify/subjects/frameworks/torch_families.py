"""Layers of packages that compute cells beyond LSTM and GRU: minGRU-pytorch, sru, transformers.

Their arrays have explicit gates, ``W_l0`` (G, D, H); each adapter converts them in torch to those
of its layer, so that gradients flow through.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

from ....reference.arrays import Floats
from ...cases.case import Case
from ...cases.options import Options
from ...conventions.parameter_map import ExplicitMap
from ..framework import imported
from ..protocol import Built, OneCell
from ..torch_module import Call, TorchModule, arrays_alone, import_torch, torch_dtype
from . import families

FAMILIES = {
    "minGRU-pytorch": ("minGRU_pytorch", "torch"),
    "sru": ("sru", "torch"),
    "recurrentgemma": ("transformers", "torch"),
}

INSTALL = {
    "minGRU-pytorch": "minGRU-pytorch torch einops",
    "sru": "sru torch ninja",
    "recurrentgemma": "transformers torch",
}

Run = Callable[[Any, Any, Any, Any, Any, Any], tuple[Any, tuple[Any, ...]]]
"""(torch, layer, explicit arrays by name, x, states or None, lengths) to (y, final states)."""


@dataclass(frozen=True)
class FamilyLayer(OneCell):
    """A class of a package that computes ``cell_name``; ``make`` builds it, ``run`` calls it."""

    name: str
    cell_name: str
    module: str
    make: Callable[[Any, Case], Any]
    run: Run
    options: Options
    dtypes: tuple[str, ...] = ("float64", "float32")

    @property
    def package(self) -> str:
        """The name of its package for pip."""
        return self._install.split()[0]

    @property
    def cells(self) -> tuple[str, ...]:
        """The reference's cell that it computes."""
        return (self.cell_name,)

    def version(self) -> str:
        """Return name and version of the package; SubjectUnavailable if it is not installed."""
        self._imported()
        return f"{self.package} {version(self.package)} (torch {import_torch().__version__}), CPU"

    def parameter_map(self, case: Case) -> ExplicitMap:
        """Return the map of the reference's own layout."""
        return ExplicitMap(self.cell_name, case)

    def build(self, case: Case) -> Built:
        """Return the layer, ready to be called."""
        torch = import_torch()
        layer = self.make(self._imported(), case).to(torch_dtype(torch, case))
        return TorchModule(arrays_alone(torch, self, case), case, self._call(layer))

    def _imported(self) -> Any:
        return imported(self.module, self._install)

    @property
    def _install(self) -> str:
        return families()[self.name.partition(":")[0]].install

    def _call(self, layer: Any) -> Call:
        def call(
            torch: Any, module: Any, x: Any, state: Any, lengths: Floats | None
        ) -> tuple[Any, tuple[Any, ...]]:
            arrays = {name.removesuffix("_l0"): array for name, array in module.items()}
            states = state if state is None or isinstance(state, tuple) else (state,)
            return self.run(torch, layer, arrays, x, states, lengths)

        return call


def _min_gru(count: int, hidden: str, *, by_step: bool) -> Run:
    """Return the call of a minGRU (``count`` 2) or a minLSTM (3), whole or step by step.

    A call of one step is a step of the recurrence, a call of several a scan in log-space. The
    linear map has no bias, so a last input that is always 1 has the biases as weights. Its rows are
    the candidate's, then the gates' in the reference's order.
    """

    def run(
        torch: Any, layer: Any, arrays: Any, x: Any, states: Any, lengths: Any
    ) -> tuple[Any, tuple[Any, ...]]:
        rows = [torch.cat([arrays["W"][k], arrays["b"][k][None]]).T for k in range(count)]
        weights = {f"{hidden}.weight": torch.cat([rows[-1], *rows[:-1]])}
        inputs = torch.cat([x, torch.ones_like(x[..., :1])], dim=-1).transpose(0, 1)
        h: Any = None if states is None else states[0].transpose(0, 1)
        outputs = []
        for part in inputs.split(1, dim=1) if by_step else (inputs,):
            options = {"return_next_prev_hidden": True}
            y, h = torch.func.functional_call(layer, weights, (part, h), options)
            outputs.append(y)
        return torch.cat(outputs, dim=1).transpose(0, 1), (h.transpose(0, 1),)

    return run


def _minimal(attribute: str) -> Callable[[Any, Case], Any]:
    def make(module: Any, case: Case) -> Any:
        # the inner width is int(dim * expansion_factor)
        width = case.D + 1
        return getattr(module, attribute)(width, (case.H + 0.5) / width, proj_out=False)

    return make


def _make_rg_lru(module: Any, case: Case) -> Any:
    """Return a layer of H + D units: the cell's H, and D that carry x to its gates."""
    config = type("Config", (), {"lru_width": case.H + case.D, "num_attention_heads": 1})
    return module.RecurrentGemmaRglru(config)


def _rg_lru(
    torch: Any, layer: Any, arrays: Any, x: Any, states: Any, lengths: Any
) -> tuple[Any, tuple[Any, ...]]:
    """Call the layer on [u, x], with positions from 1: at 0 it would reset its state."""
    W, b = arrays["W"], arrays["b"]
    H, D = b.shape[1], x.shape[-1]

    def weight(k: int) -> Any:
        reading = torch.cat([W[k].new_zeros(H, H), W[k]])  # of [u, x], x alone
        return torch.cat([reading, W[k].new_zeros(H + D, D)], dim=1)[None]

    def padded(vector: Any) -> Any:
        return torch.cat([vector, vector.new_zeros(D)])

    weights = {
        "recurrent_param": padded(arrays["Lambda"]),
        "recurrent_gate_weight": weight(0), "recurrent_gate_bias": padded(b[0])[None],
        "input_gate_weight": weight(1), "input_gate_bias": padded(b[1])[None],
    }  # fmt: skip
    activations = torch.cat([x @ W[2] + b[2], x], dim=-1).transpose(0, 1)
    positions = torch.arange(1, x.shape[0] + 1).expand(x.shape[1], -1)
    layer.recurrent_states = None
    if states is not None:
        h = states[0][0]
        layer.recurrent_states = torch.cat([h, h.new_zeros(len(h), D)], dim=1)
    y = torch.func.functional_call(layer, weights, (activations, positions))
    return y[..., :H].transpose(0, 1), (layer.recurrent_states[None, :, :H].to(x.dtype),)


def _make_sru(module: Any, case: Case) -> Any:
    """Return a cell with a highway matrix: with D = H the input would pass without one."""
    return module.SRUCell(case.D + (case.D == case.H), case.H)


def _sru(
    torch: Any, layer: Any, arrays: Any, x: Any, states: Any, lengths: Any
) -> tuple[Any, tuple[Any, ...]]:
    """Call the cell; its matrices lie side by side, unit by unit, and h is not its state."""
    (_, D, H), extra = arrays["W"].shape, layer.input_size - x.shape[-1]
    weight = arrays["W"].permute(1, 2, 0).reshape(D, 4 * H)
    weights = {
        "weight": torch.cat([weight, weight.new_zeros(extra, 4 * H)]),
        "weight_c": arrays["v"].reshape(-1), "bias": arrays["b"].reshape(-1),
    }  # fmt: skip
    inputs = torch.cat([x, x.new_zeros(*x.shape[:2], extra)], dim=-1)
    c = None if states is None else states[1][0]
    padded = None
    if lengths is not None:
        padded = torch.arange(len(x))[:, None] >= torch.as_tensor(lengths)
    y, c = torch.func.functional_call(layer, weights, (inputs, c, padded))
    last = y[-1] if lengths is None else y[torch.as_tensor(lengths) - 1, torch.arange(len(c))]
    return y, (last[None], c[None])


PLAIN = Options(
    layers=False, bidirectional=False, bias=False, lengths=False,
    reasons=(("bias", "the adapter always gives one"),),
)  # fmt: skip

SUBJECTS = (
    *(
        FamilyLayer(
            f"minGRU-pytorch:{attribute}{'' if by_step else '-scan'}",
            f"{attribute.lower()}-positive", f"minGRU_pytorch.{attribute}", _minimal(attribute),
            _min_gru(count, hidden, by_step=by_step), PLAIN,
        )
        for attribute, count, hidden in (
            ("minGRU", 2, "to_hidden_and_gate"), ("minLSTM", 3, "to_hidden_and_f_i_gate"),
        )
        for by_step in (True, False)
    ),
    FamilyLayer(
        "sru:SRUCell", "sru", "sru.modules", _make_sru, _sru, replace(PLAIN, lengths=True),
        dtypes=("float32",),  # its CPU kernel takes no other
    ),
    FamilyLayer(
        "recurrentgemma:RecurrentGemmaRglru", "rg-lru",
        "transformers.models.recurrent_gemma.modeling_recurrent_gemma", _make_rg_lru, _rg_lru,
        PLAIN, dtypes=("float32",),
    ),
)  # fmt: skip
