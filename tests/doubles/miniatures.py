"""Small wrong subjects, named after what they do wrong."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np

from gatewise.reference.cells import cell_named
from gatewise.reference.layer import Layer
from gatewise.verify.cases.options import Options
from gatewise.verify.subjects.protocol import Pulled, Result, SubjectUnavailable
from gatewise.verify.subjects.torch_parameters import CONVENTIONS, TorchMap

OPTIONS = Options(zero_length=True, no_steps=True, named_parameters=True)


def actual(case, inputs):
    """The case with the sizes of these inputs: a layer may be called with several."""
    return replace(case, T=inputs.x.shape[0], B=inputs.x.shape[1])


def given(case, subject, pair):
    """Cotangents with zeros where there are none."""
    dy, dfinal = pair
    B = next(d.shape[1] for d in (dy, *dfinal) if d is not None)
    shape = (case.layers * case.directions, B, case.H)
    ends = tuple(np.zeros(shape, case.dtype) if d is None else d for d in dfinal)
    steps = case.T if dy is None else dy.shape[0]
    return np.zeros((steps, B, case.H * case.directions), case.dtype) if dy is None else dy, ends


@dataclass(frozen=True)
class Right:
    """The reference's own LSTM behind torch's parameter names: no torch needed, nothing wrong."""

    name: str = "mini:Right"
    options: Options = OPTIONS
    dtypes: tuple[str, ...] = ("float64", "float32")

    cells: tuple[str, ...] = ("lstm",)

    def version(self):
        return "mini 1.0"

    def cell(self, case):
        return "lstm"

    def parameter_map(self, case):
        return TorchMap(CONVENTIONS["lstm"], case)

    def caller(self, case):
        return ""

    def build(self, case):
        return SimpleNamespace(
            forward=lambda inputs: self.forward(actual(case, inputs), inputs),
            gradients=lambda inputs, pairs: [
                self.gradient(actual(case, inputs), inputs, *given(case, self, pair))
                for pair in pairs
            ],
        )

    def parameters(self, case, named):
        return self.parameter_map(case).to_reference(named)

    def run(self, case, inputs):
        layer = Layer(cell_named("lstm"), case.sizes, case.layers, case.bidirectional)
        p = self.parameters(case, inputs.parameters)
        return layer, p, layer.forward(p, inputs.x, inputs.state, inputs.lengths)

    def forward(self, case, inputs):
        _, _, output = self.run(case, inputs)
        return Result(output.y, output.final)

    def gradient(self, case, inputs, dy, dfinal):
        layer, p, output = self.run(case, inputs)
        g = layer.vjp(p, output, dy, dfinal)
        named = self.parameter_map(case).from_reference(g.parameters)
        return Pulled(output.y, output.final, named, g.x, g.initial if case.state else ())


class SwapsInputAndForgetGate(Right):
    """Rows i and f of every packed array exchanged."""

    def parameters(self, case, named):
        order = np.r_[case.H : 2 * case.H, : case.H, 2 * case.H : 4 * case.H]
        swapped = {k: a[order] for k, a in named.items()}
        return super().parameters(case, swapped)


class IgnoresTheCotangentOnC(Right):
    """The gradient of the final cell state is lost."""

    def gradient(self, case, inputs, dy, dfinal):
        return super().gradient(case, inputs, dy, (dfinal[0], 0 * dfinal[1]))


class ForgetsTheStateFromStep32(Right):
    """A window: the recurrence restarts at step 32."""

    def run(self, case, inputs):
        layer, p, output = super().run(case, inputs)
        if case.T <= 32:
            return layer, p, output
        later = layer.forward(p, inputs.x[32:], None, None)
        y = np.concatenate([output.y[:32], later.y])
        return layer, p, replace(output, y=y, final=later.final)


class TruncatesBackpropagationAt32(Right):
    """The forward pass is right; the gradient stops at every 32nd step."""

    def gradient(self, case, inputs, dy, dfinal):
        layer, p, output = self.run(case, inputs)
        if case.T <= 32:
            return super().gradient(case, inputs, dy, dfinal)
        first = layer.forward(p, inputs.x[:32], inputs.state)
        rest = layer.forward(p, inputs.x[32:], first.final)
        g1 = layer.vjp(p, first, dy[:32], tuple(0 * d for d in dfinal))
        g2 = layer.vjp(p, rest, dy[32:], dfinal)
        both = [a + b for a, b in zip(g1.parameters, g2.parameters, strict=True)]
        named = self.parameter_map(case).from_reference(both)
        dx = np.concatenate([g1.x, g2.x])
        return Pulled(output.y, output.final, named, dx, g1.initial)


class SeesTheFuture(Right):
    """Gradients leak into later inputs."""

    def gradient(self, case, inputs, dy, dfinal):
        result = super().gradient(case, inputs, dy, dfinal)
        earlier = np.cumsum(dy.sum(axis=2), axis=0) - dy.sum(axis=2)
        return replace(result, x=result.x + 1e-3 * earlier[:, :, None])


class ReturnsNaN(Right):
    """One output is NaN."""

    def forward(self, case, inputs):
        result = super().forward(case, inputs)
        result.y[-1, -1, -1] = np.nan
        return result


class ReturnsNaNInLongSequences(Right):
    """Everything from step 100 on is NaN; shorter sequences are right."""

    def forward(self, case, inputs):
        result = super().forward(case, inputs)
        result.y[100:] = np.nan
        return result


class ScalesLongSequences(Right):
    """Outputs of sequences of more than 6 steps grow with the length: no prefix agrees."""

    def forward(self, case, inputs):
        result = super().forward(case, inputs)
        return result if case.T <= 6 else replace(result, y=result.y * (1 + case.T / 1000))


class ReturnsWrongShape(Right):
    """Every output stands twice."""

    def forward(self, case, inputs):
        result = super().forward(case, inputs)
        return replace(result, y=result.y.repeat(2, axis=0))

    def gradient(self, case, inputs, dy, dfinal):
        result = super().gradient(case, inputs, dy, dfinal)
        return replace(result, y=result.y.repeat(2, axis=0))


class ComputesInFloat16(Right):
    """Everything is rounded to half precision in between."""

    def forward(self, case, inputs):
        def half(a):
            return None if a is None else a.astype(np.float16).astype(a.dtype)

        rounded = {k: half(a) for k, a in inputs.parameters.items()}
        return super().forward(case, replace(inputs, parameters=rounded, x=half(inputs.x)))


class Raises(Right):
    """It raises for batches of more than one row."""

    def forward(self, case, inputs):
        if case.B > 1:
            raise RuntimeError("no kernel for this batch")
        return super().forward(case, inputs)


class NotInstalled(Right):
    """Its package is missing."""

    def version(self):
        raise SubjectUnavailable("mini is not installed; install it with: pip install mini")
