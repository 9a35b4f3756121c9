"""ncps's ``CfCCell``, ``LTCCell`` and ``LSTMCell`` in loops over time.

The LSTM's gates stand in the order g, i, f, o, and 1 is added to the forget gate's argument at
every call (``sigmoid(fg + 1.0)``). The package calls it in such a loop, too, as the memory of the
other two. It requires an initial state.

The LTC solves a differential equation with six fused steps for each step of the sequence (Hasani
et al. 2021, arXiv:2006.04439, algorithm 1). This is a recurrence of sums, products, quotients and
sigmoids; ``ltc`` states it, with the logarithms of positive parameters and without the 1e-8 in the
denominator.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np

from ...cases.case import Case
from ...cases.options import Options
from ...conventions import Convention
from ...conventions.file_layout import Stored
from ...conventions.parameter_map import OwnMap
from ..framework import FrameworkSubject, imported
from ..protocol import Built, SubjectUnavailable
from ..recurrence import Recurrence, own_name
from ..torch_module import TorchModule, import_torch
from ..torch_subject import call_cell
from .torch_families import PLAIN, FamilyLayer

FAMILIES = {"ncps": ("ncps", "torch")}
INSTALL = "ncps torch"

PARAMETERS = {
    "input_map.weight": "weight_ih",
    "input_map.bias": "bias",
    "recurrent_map.weight": "weight_hh",
}
"""The convention's names of the cell's parameters; only the map of the input has a bias."""


@dataclass(frozen=True)
class NcpsCell(FrameworkSubject):
    """``ncps.torch.lstm.LSTMCell``."""

    stored: ClassVar[Stored] = Stored(tuple((array, name) for name, array in PARAMETERS.items()))

    def version(self) -> str:
        imported("ncps.torch.lstm", INSTALL)
        return f"ncps {version('ncps')} (torch {import_torch().__version__}), CPU"

    def build(self, case: Case) -> Built:
        """Return the cell, to be called in a loop; SubjectUnavailable for other parameters."""
        torch = import_torch()
        cell = imported("ncps.torch.lstm", INSTALL).LSTMCell(case.D, case.H)
        actual = {name: tuple(p.shape) for name, p in cell.named_parameters()}
        shapes = self.parameter_map(case).shapes()
        expected = {name: shapes[f"{array}_l0"] for name, array in PARAMETERS.items()}
        if actual != expected:
            raise SubjectUnavailable(f"expected the parameters {expected}, got {actual}")
        cell = cell.to(getattr(torch, case.dtype))
        return TorchModule(cell, case, call_cell, key=lambda name: f"{PARAMETERS[name]}_l0")


_OPTIONS = Options(
    layers=False,
    bidirectional=False,
    bias=False,
    lengths=False,
    default_state=False,
    jvp=True,
    reasons=(
        ("bias", "the cell always has one"),
        ("default_state", "the cell takes a state at every step"),
    ),
)


def _cfc_made(module: Any, case: Case) -> Any:
    return module.CfCCell(case.D, case.H, mode="default", backbone_layers=0)


def _cfc(
    torch: Any, layer: Any, arrays: Any, x: Any, states: Any, lengths: Any
) -> tuple[Any, tuple[Any, ...]]:
    """Call the cell step by step; its maps read [x, h]."""
    names = ("ff1", "ff2", "time_a", "time_b")
    weights = {
        f"{n}.weight": torch.cat([arrays["W"][k], arrays["U"][k]]).T for k, n in enumerate(names)
    }
    weights |= {f"{n}.bias": arrays["b"][k] for k, n in enumerate(names)}
    h = x.new_zeros(x.shape[1], arrays["b"].shape[1]) if states is None else states[0][0]
    outputs = []
    for x_t in x:
        y, h = torch.func.functional_call(layer, weights, (x_t, h, 1.0))
        outputs.append(y)
    return torch.stack(outputs), (h[None],)


UNFOLDS = 6
"""Fused steps of the solver for one step of the sequence, which takes a unit of time."""

SYNAPSES = ("mu", "sigma", "log_w", "erev")
LTC_PARAMETERS = {
    **dict.fromkeys(SYNAPSES, "H H"), **{f"sensory_{name}": "D H" for name in SYNAPSES},
    "log_gleak": "H", "vleak": "H", "log_cm": "H",
}  # fmt: skip


def ltc(p: Any, x: Any, state: Any) -> Any:
    """Return the potentials (B, H) after six fused steps."""
    (v,) = state
    sensed = _conductances(x, p.sensory_mu, p.sensory_sigma, p.sensory_log_w)
    drive, conductance = (sensed * p.sensory_erev).sum(axis=1), sensed.sum(axis=1)
    capacity, leak = UNFOLDS * np.exp(p.log_cm), np.exp(p.log_gleak)
    for _ in range(UNFOLDS):
        a = _conductances(v, p.mu, p.sigma, p.log_w)
        total = capacity * v + leak * p.vleak + (a * p.erev).sum(axis=1) + drive
        v = total / (capacity + leak + a.sum(axis=1) + conductance)
    return (v,)


def _conductances(v: Any, mu: Any, sigma: Any, log_w: Any) -> Any:
    """Return the conductances of all synapses (B, sources, targets), with sigmoids as tanh."""
    z = sigma * (v.reshape(v.shape[0], v.shape[1], 1) - mu)
    return np.exp(log_w) * (0.5 + 0.5 * np.tanh(0.5 * z))


@dataclass(frozen=True)
class LTCLayer(FamilyLayer):
    """``ncps.torch.ltc_cell.LTCCell``, whose recurrence has no file in the reference."""

    @property
    def own_cell(self) -> Recurrence:
        """The recurrence."""
        return Recurrence(LTC_PARAMETERS, {"h": "H"}, "D", ltc)

    def parameter_map(self, case: Case) -> OwnMap:  # type: ignore[override]
        """Return the map of its own arrays."""
        return OwnMap(self.own_cell, case)


def _ltc_made(module: Any, case: Case) -> Any:
    wiring = imported("ncps.wirings", INSTALL).FullyConnected(case.H)
    return module.LTCCell(wiring, case.D, epsilon=0.0)


def _ltc(
    torch: Any, layer: Any, arrays: Any, x: Any, states: Any, lengths: Any
) -> tuple[Any, tuple[Any, ...]]:
    """Call the cell step by step; it reads its arrays from a dictionary."""
    layer._params |= {
        name.replace("log_", ""): array.exp() if "log_" in name else array
        for name, array in arrays.items()
    }
    h = x.new_zeros(x.shape[1], arrays["vleak"].shape[0]) if states is None else states[0][0]
    outputs = []
    for x_t in x:
        y, h = layer(x_t, h)
        outputs.append(y)
    return torch.stack(outputs), (h[None],)


SUBJECTS = (
    LTCLayer("ncps:LTCCell", own_name(ltc), "ncps.torch.ltc_cell", _ltc_made, _ltc, PLAIN),
    NcpsCell(
        "ncps:LSTMCell",
        Convention(
            "lstm", "gifo", ("gifo",), forget_offset=1.0, time="one step", states=("h", "c")
        ),
        _OPTIONS,
    ),
    FamilyLayer("ncps:CfCCell", "cfc", "ncps.torch.cfc_cell", _cfc_made, _cfc, PLAIN),
)
