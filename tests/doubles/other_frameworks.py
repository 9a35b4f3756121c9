"""Layers of frameworks that do not exist: conventions of their own, computed by the reference."""

from dataclasses import dataclass

import numpy as np

from gatewise.reference.cells import cell_named
from gatewise.reference.layer import Layer
from gatewise.verify.cases.options import Options
from gatewise.verify.conventions import Convention
from gatewise.verify.conventions.file_layout import Stored
from gatewise.verify.subjects.framework import FrameworkSubject, Plain
from gatewise.verify.subjects.protocol import Result, SubjectUnavailable


@dataclass(frozen=True)
class Right(FrameworkSubject):
    names: tuple = ()

    @property
    def stored(self):
        return Stored(self.names)

    def version(self):
        return "other 1.0"

    def arrays(self, named):
        return named

    def build(self, case):
        def run(inputs):
            p = self.parameter_map(case).to_reference(self.arrays(inputs.parameters))
            layer = Layer(cell_named(self.cell(case)), case.sizes, case.layers, case.bidirectional)
            output = layer.forward(p, inputs.x, inputs.state)
            return Result(output.y, output.final)

        return Plain(run)


class Wrong(Right):
    """It takes its gates in another order than it says."""

    def arrays(self, named):
        return {n: np.roll(a, a.shape[-1] // 4, axis=-1) for n, a in named.items()}


class Missing(Right):
    def version(self):
        raise SubjectUnavailable("other is not installed; install it with: pip install other")


class Exits(Right):
    def build(self, case):
        import os

        os._exit(7)


OPTIONS = Options(bidirectional=False, gradient=False)
_LSTM = Convention("lstm", "iofg", ("iofg",), "in-out")
_NAMES = (("weight_ih", "layer{layer}/kernel"), ("weight_hh", "layer{layer}/recurrent"),
          ("bias", "layer{layer}/bias"))  # fmt: skip

lstm = Right("other:LSTM", _LSTM, OPTIONS, names=_NAMES)
wrong = Wrong("other:Wrong", _LSTM, OPTIONS)
missing = Missing("other:Missing", _LSTM, OPTIONS)
exits = Exits("other:Exits", _LSTM, OPTIONS)
two = Right("other:Two", Convention("lstm", "ofig", ("ofig", "figo"), "interleaved"), Options())
one_layer = Right("other:One", _LSTM, Options(layers=False))
gru = Right("other:GRU", Convention("gru", "zrn", ("zrn",), "in-out"), OPTIONS)
gru_before = Right(
    "other:GRU", Convention("gru", "zrn", ("zrn",), "in-out", reset="before"), OPTIONS
)
peephole = Right(
    "other:Peephole", Convention("lstm", "ifgo", ("ifgo",), peepholes="ifo"), Options()
)
