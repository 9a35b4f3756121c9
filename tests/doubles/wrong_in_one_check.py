"""Wrong subjects for the checks that no mutant of the catalogue is made for."""

import itertools
from dataclasses import replace

import numpy as np

import gatewise
import miniatures
import plain_numpy
from gatewise.verify.cases.case import Case
from gatewise.verify.models.departures import Departure
from gatewise.verify.numbers.ledger import Mismatch
from gatewise.verify.subjects import adapted
from gatewise.verify.subjects.inputs import draw_inputs


class WrongAtWidth127(miniatures.Right):
    """Another algorithm, and a wrong one, from 127 units on."""

    options = replace(miniatures.OPTIONS, algorithms=True)

    def gradient(self, case, inputs, dy, dfinal):
        result = super().gradient(case, inputs, dy, dfinal)
        return result if case.H < 127 else replace(result, y=result.y * 1.001)


class RefusesTwoLayers(miniatures.Right):
    """With more than one layer, it has not the parameters that it should have."""

    def build(self, case):
        if case.layers > 1:
            raise Mismatch("parameters: expected weight_ih_l1, got none")
        return super().build(case)


class LeavesTheInterval(miniatures.Right):
    """The largest output is a few dozen roundoffs above 1."""

    def forward(self, case, inputs):
        result = super().forward(case, inputs)
        result.y[-1, -1, -1] = 1 + 2.0**-47
        return result


class LeavesTheIntervalAtTheEnd(miniatures.Right):
    """The same in the final state alone."""

    def forward(self, case, inputs):
        result = super().forward(case, inputs)
        result.final[0][-1, -1, -1] = -1 - 2.0**-47
        return result


class SeesTheLastInput(miniatures.Right):
    """Every output has a little of the last input in it; the gradients have not."""

    def forward(self, case, inputs):
        result = super().forward(case, inputs)
        return replace(result, y=result.y + 1e-6 * inputs.x[-1].mean())


class OfAFile(miniatures.Right):
    """A node of a model file."""

    held_to = ("source", "in-graph")
    departures = ()
    unseen = ""


class Stale(OfAFile):
    """Its weights are not those of its source."""

    departures = (Departure("other-weights", "Its weights are others.", "export it again"),)


class OffInItsGraph(OfAFile):
    """In the running graph, one number of it is wrong."""

    @property
    def calls_in_graph(self):
        case = Case(3, 1, 4, 5, dtype="float32")
        inputs = draw_inputs(self, case)
        result = self.forward(case, inputs)
        result.y[1, 0, 2] += 0.001
        yield inputs, result


def impure():
    """A layer whose step counts its calls, and returns another number each time."""
    calls = itertools.count()

    def step(p, x, state):
        return np.tanh(x @ p.W + state[0] * p.u + 1e-3 * next(calls))

    @gatewise.subject(step, parameters={"W": "D H", "u": "H"}, axes="BD", returns="state")
    def layer(x, h, W, u):
        return np.tanh(x @ W + h * u)

    return adapted(layer, "impure", None)


def stateless():
    """A layer that declares a state and reads none."""

    @gatewise.subject(None, parameters={"W": "D H"}, axes="BD", returns="state")
    def layer(x, h, W):
        return np.tanh(x @ W)

    return adapted(layer, "stateless", None)


def half_reset():
    """A layer that keeps its state, and whose reset forgets h alone."""

    class Layer(plain_numpy.KeepsItsState):
        def reset(self):
            self.kept = self.kept and (0 * self.kept[0], self.kept[1])

    return adapted(Layer, "half reset", None)


def not_kept():
    """A layer that says that it keeps its state, and begins anew every time."""

    class Layer(plain_numpy.LSTM):
        stateful = True

        def reset(self):
            pass

    return adapted(Layer, "not kept", None)


def cell_state_alone_is_ignored():
    """A layer that asks for h whether a state was given, and then ignores c."""

    class Layer(plain_numpy.KeepsItsState):
        def start(self, params, x, state):
            return super().start(params, x, None if state is None or state[0] is None else state)

    return adapted(Layer, "c alone is ignored", None)


def cheat(name, number=36, **options):
    """Return what makes a submission to a problem that cheats so."""

    def subject():
        from gatewise.bench.kernels.cheats import CHEATS
        from gatewise.bench.kernels.submissions import submission
        from gatewise.verify.subjects.kernel import kernel
        from gatewise.verify.subjects.kernel_problems import PROBLEMS

        (kind,) = (cheat.kind for cheat in CHEATS if cheat.name == name)
        model = submission(kind, PROBLEMS[number])
        return kernel(model, name, f"kernelbench:{number}", **options)

    return subject
