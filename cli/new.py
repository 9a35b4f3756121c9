"""``gatewise new``: write a subject to start from, and its test."""

from __future__ import annotations

import textwrap
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import click

from .common import COULD_NOT_RUN, or_usage, quoted, stop, write

if TYPE_CHECKING:
    from ..reference.cell import Cell

SUBJECT = Template('''\
"""$title of your own, held against the equations: gatewise verify $file:$name"""

import numpy as np


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


class $name:
    cell = "$cell"  # whose equations it is held to; all of them: gatewise cells
    # dtypes = ("float32",)  # if it computes in that alone

    def forward(self, params, x, state):
        """Run the layer: x (T, B, D) -> y (T, B, H), final states.

        params: $parameters.
        $gates
        state is None for the layer's own start, or $states, each (B, H).
        """
        T, B, D = x.shape
        H = params["$width"].shape[-1]
        if state is None:
            state = tuple(np.zeros((B, H), x.dtype) for _ in range($count))
        y = np.empty((T, B, H), x.dtype)
        for t in range(T):
            $shown = self.step(params, x[t], *state)
        return y, state

    def step(self, p, x, $arguments):
        """Return $what. Put your own code here."""
$step

    # If it has gradients: return those of the parameters by name, of x, of the initial states.
    # def vjp(self, params, x, state, dy, dstate):
    #     return {$gradients}, dx, ($initial)
''')

GATED_BY_INPUT = Template('''\
"""$title of your own, held against the equations: gatewise verify $file:$name"""

import torch


class $name:
    cell = "$cell"  # whose equations it is held to; all of them: gatewise cells
    axes = "BTD"  # or "TBD", or "BHTD" where heads stand before time
    gradient = "torch"  # by autograd; leave it out where there are no gradients

    def forward(self, $arguments, state=None):
        """Run the layer over arrays (B, T, ...): $parameters.

        N heads, K wide keys, V wide values. state is None for a start from zeros, or $states.
        Return the outputs and the final state.
        """
$step
''')

TEST = Template('''\
"""$name against the equations: one test for every check and dtype."""

import gatewise
from $module import $name


@gatewise.conforms($name, budget="quick")
def test_$module(verdict):
    assert verdict.status == "passed", verdict.message
''')

STEPS = {
    "rnn": """\
return (np.tanh(x @ p.W_a + h @ p.U_a + p.b_a),)
""",
    "lstm": """\
i = sigmoid(x @ p.W_i + h @ p.U_i + p.b_i)
f = sigmoid(x @ p.W_f + h @ p.U_f + p.b_f)
o = sigmoid(x @ p.W_o + h @ p.U_o + p.b_o)
g = np.tanh(x @ p.W_g + h @ p.U_g + p.b_g)
c = f * c + i * g
return o * np.tanh(c), c
""",
    "gru": """\
r = sigmoid(x @ p.W_r + h @ p.U_r + p.b_r)
z = sigmoid(x @ p.W_z + h @ p.U_z + p.b_z)
n = np.tanh(x @ p.W_n + p.b_n + r * (h @ p.U_n + p.b_hn))
return ((1 - z) * n + z * h,)
""",
}
"""Complete steps; the subjects of other cells show the equations instead."""


@click.command()
@click.argument("cell", default="lstm")
@click.option("--to", "folder", type=click.Path(path_type=Path, file_okay=False), default=".",
              help="The folder to write them to.")  # fmt: skip
def new(cell: str, folder: Path) -> None:
    """Write a layer with the equations of CELL, and its test.

    Put your own code into it. It runs as it is: see what a verdict looks like, then replace the
    step by your own.
    """
    from ..reference.cells import cell_named

    chosen = or_usage(lambda: cell_named(cell))
    words = cell.split("-")
    name = "My" + "".join(word.upper() if word in STEPS else word.title() for word in words)
    module = f"my_{'_'.join(words)}"
    paths = folder / f"{module}.py", folder / f"test_{module}.py"
    for path in paths:
        if path.exists():
            stop(f"{path}: is there already, and is left as it is", COULD_NOT_RUN)
    write(paths[0], _subject(chosen, name, paths[0].name))
    write(paths[1], TEST.substitute(name=name, module=module))
    subject = quoted(f"{paths[0]}:{name}")
    click.echo(f"wrote {paths[0]} and {paths[1]}\nhold it: gatewise verify {subject}")


def _subject(cell: Cell, name: str, file: str) -> str:
    from ..reference.gated_by_input import GatedByInput
    from ..reference.parameters import Sizes
    from .catalogue import parameters_of

    states = f"({', '.join(cell.states)}{',' if len(cell.states) == 1 else ''})"
    if isinstance(cell, GatedByInput):
        return GATED_BY_INPUT.substitute(
            title=cell.title, file=file, name=name, cell=cell.name,
            arguments=", ".join([*(array.name for array in cell.inputs), *cell.parameter_axes]),
            parameters=parameters_of(cell),
            states=states if len(cell.states) > 1 else cell.states[0],
            step=textwrap.indent(_equations(cell), " " * 8),
        )  # fmt: skip
    reads = "readout" in cell.traits
    arrays = [*cell.shapes(Sizes(D=2, H=3))]
    gates = "One part of an array has a name: params.B_re (D, H)."
    if cell.gates:
        gates = (
            f"The gates stand in the order {' '.join(cell.gates)}; one gate's array is "
            f"params.W_{cell.gates[0]} (D, H)."
        )
    return SUBJECT.substitute(
        title=cell.title, file=file, name=name, cell=cell.name, parameters=parameters_of(cell),
        gates=gates, width="b" if "b" in arrays else arrays[0], states=states,
        shown="y[t], *state" if reads else "y[t], *_ = state",
        what="the output and the new states" if reads else "the new states",
        count=len(cell.states), arguments=", ".join(cell.states),
        step=textwrap.indent(STEPS.get(cell.name) or _equations(cell), " " * 8).rstrip(),
        gradients=", ".join(f'"{name}": d{name}' for name in arrays),
        initial=", ".join(f"d{state}0" for state in cell.states) + ",",
    )  # fmt: skip


def _equations(cell: Cell) -> str:
    """Return the cell's equations as comments, and a line that raises NotImplementedError."""
    from ..reference.equation import equations

    latex = {equation.name: equation.latex for equation in equations()}
    lines = [f"# {latex[name]}" for name in cell.equations]
    return "\n".join([*lines, 'raise NotImplementedError("the step is still to be written")'])
