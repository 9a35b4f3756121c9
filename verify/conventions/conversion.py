"""Carry a layer's parameters from one framework's arrays to another's, and hold both to it.

Files hold arrays under the framework's own names, see ``stored``. Sizes, layers and directions are
read from names and shapes; what is missing, too much or of another shape is an error that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ...reference.cells import cell_named
from ...reference.layer import Layer
from ..cases.case import LARGEST_SIZE, Case
from ..cases.options import Options
from ..numbers.arithmetic import ARITHMETICS
from ..numbers.bounded import Bounded
from ..numbers.ledger import Ledger, Undecided
from ..runs.npz import read_npz
from . import formula
from .convention import LAYOUTS, Convention
from .file_layout import DEEPEST, Stored, Unfit
from .parameter_map import ConventionMap, NoHome
from .translation import stored_shapes, translated

LARGEST_FILE = 2**33
"""Bytes; no layer of at most 4096 units is larger."""

MOST_ARRAYS = 4096
DTYPES = {"F32": "float32", "F64": "float64"}


@dataclass(frozen=True)
class End:
    """One end of a conversion: what arrays mean there, how files hold them, what it offers.

    ``dtypes`` are those it computes in.
    """

    name: str
    convention: Convention
    stored: Stored = field(default_factory=Stored)
    options: Options = field(default_factory=Options)
    dtypes: tuple[str, ...] = ("float64", "float32")

    @property
    def arrays(self) -> list[str]:
        """The names of all the arrays that its files may hold for a pass."""
        projected = [] if self.convention.projected else ["weight_hr"]
        return [*(packed.name for packed in self.convention.arrays()), *projected]


@dataclass(frozen=True)
class Conversion:
    """Parameters at both ends, by the conventions' names, and the case whose sizes they have."""

    case: Case
    source: Convention
    target: Convention
    given: Mapping[str, Floats]
    result: Mapping[str, Floats]


def convert(source: End, target: End, arrays: Mapping[str, Floats]) -> Conversion:
    """Carry arrays of a file of the source's over; NoHome or Unfit say why it cannot be."""
    convention, case, given = infer(source, arrays)
    lacking = [o for o in target.options.lacking(replace(case, T=1, B=1, bias=True)) if o in (
        "layers", "bidirectional", "projection")]  # fmt: skip
    if lacking:
        raise NoHome(f"{target.name}: {target.options.why(tuple(lacking))}")
    aim = replace(target.convention, projected=convention.projected)
    return Conversion(case, convention, aim, given, translated(convention, aim, case, given))


def infer(end: End, arrays: Mapping[str, Floats]) -> tuple[Convention, Case, dict[str, Floats]]:
    """Return the convention, a case of the arrays' sizes, and a file's arrays by its names.

    The convention has no biases if the file has none.
    """
    c = end.convention
    arrays = dict(in_full(end, arrays))
    named, extra = end.stored.opened(end.arrays, arrays)
    if "weight_hr_l0" in named and c.family == "lstm":
        c = replace(c, projected=True)
    if not any(f"{p.name}_l0" in named for p in c.arrays() if "bias" in p.name):
        c = replace(c, bias=())
    case = replace(_case(end, c, named, arrays), bias=c.bias == end.convention.bias)
    wanted = {}
    for name, shape in stored_shapes(c, case).items():
        own = wanted[name] = end.stored.called(name, both=case.bidirectional)
        if name not in named:
            raise Unfit(f"{own} {list(shape)} is missing: there are {_some(arrays)}")
        if named[name].shape != shape:
            raise Unfit(f"{own}: expected shape {list(shape)}, got {list(named[name].shape)}")
        if named[name].dtype != case.dtype:
            raise Unfit(f"{own}: expected {case.dtype} as the others, got {named[name].dtype}")
        if not np.isfinite(named[name]).all():
            raise Unfit(f"{own}: holds numbers that are not finite")
    if extra := extra + [name for name in named if name not in wanted]:
        expected = _some(wanted.values())
        raise Unfit(f"{_some(extra)} belong to no array of {end.name}: expected {expected}")
    return c, case, {name: named[name] for name in wanted}


BARE = ("kernel", "recurrent_kernel", "bias")
"""What Keras's layers and TensorFlow's cells call their arrays, without a path."""


def in_full(end: End, arrays: Mapping[str, Floats]) -> Mapping[str, Floats]:
    """Return arrays of one layer that have nothing but ``BARE`` names by the end's own names."""
    bare = {name.rpartition("/")[2].removesuffix(":0"): array for name, array in arrays.items()}
    if len(bare) < len(arrays) or not bare or not {*bare} <= {*BARE}:
        return arrays
    stems = [packed.name for packed in end.convention.arrays()]
    weights = [stem for stem in stems if "bias" not in stem]
    biases = [stem for stem in stems if "bias" in stem]
    stand = dict(zip(BARE, weights, strict=False)) | dict(zip(BARE[2:], biases, strict=False))
    if len(weights) > 2 or not {*bare} <= {*stand}:
        return arrays
    own = {name: end.stored.own(f"{stand[name]}_l0") for name in bare}
    return arrays if {*own.values()} & {*arrays} else {own[n]: a for n, a in bare.items()}


def reading(end: End, arrays: Mapping[str, Floats]) -> str:
    """Return as what arrays with bare names are read, "" where the names are the end's own."""
    if {*in_full(end, arrays)} == {*arrays}:
        return ""
    shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
    return f"{shapes}: read as one layer of {end.name} ({formula.summary(end.convention)})"


def fitting(ends: Iterable[End], arrays: Mapping[str, Floats]) -> list[End]:
    """Return those ends whose arrays these can be."""
    fit = []
    for end in ends:
        with suppress(Unfit):
            infer(end, arrays)
            fit.append(end)
    return fit


def only(family: str, ends: Iterable[End], arrays: Mapping[str, Floats]) -> End:
    """Return the one end of a family whose arrays these can be; Unfit where one must be named."""
    ends = list(ends)
    fit = fitting(ends, arrays)
    if not fit:
        names = ", ".join(end.name for end in ends)
        raise Unfit(f"{_some(arrays)} are no arrays of a layer of {family}: there are {names}")
    if len(fit) > 1:
        each = "; ".join(f"--from {end.name} for {formula.summary(end.convention)}" for end in fit)
        raise Unfit(f"{_some(arrays)} may be several layers of {family}: give {each}")
    return fit[0]


def _case(
    end: End, c: Convention, named: Mapping[str, Floats], arrays: Mapping[str, Floats]
) -> Case:
    first = c.arrays()[0]
    known = [k for k in range(DEEPEST) if f"{first.name}_l{k}" in named]
    if not known or known[0]:
        wanted = end.stored.called(f"{first.name}_l0")
        raise Unfit(f"{wanted} is missing: there are {_some(arrays)}")
    D, H, P = _sizes(c, first.layout, end, named)
    for name, size in {"D": D, "H": H}.items():
        if not 1 <= size <= LARGEST_SIZE:
            raise Unfit(f"{name} = {size}: expected 1 to {LARGEST_SIZE}")
    both = f"{first.name}_l0_reverse" in named
    dtype = str(named[f"{first.name}_l0"].dtype)
    return Case(3, 2, D, H, P, max(known) + 1, both, dtype=dtype)


def _sizes(
    c: Convention, layout: str, end: End, arrays: Mapping[str, Floats]
) -> tuple[int, int, int]:
    """Return D, H and P (0: none) from the shapes of the first layer's arrays."""
    name = f"{c.arrays()[0].name}_l0"
    shape, gates = arrays[name].shape, len(c.order)
    how = LAYOUTS[layout]
    if len(shape) != (3 if how.axis is None else 2):
        own = end.stored.called(name)
        raise Unfit(f"{own}: expected as many axes as {layout} has, got {list(shape)}")
    P = 0
    if c.projected:
        P = arrays["weight_hr_l0"].shape[0 if c.projection_turned else -1]
    block = list(shape if how.axis is not None else shape[1:])
    if how.axis is not None and not layout.startswith("separate"):
        block[how.axis] //= gates
    D, H = how.own(tuple(block))
    return D - (P or H) if layout == "joint" else D, H, P


def _some(names: Any) -> str:
    shown = sorted(names)[:6]
    return ", ".join(shown) + (", ..." if len(names) > len(shown) else "") if shown else "none"


Run = Callable[[str, Case, Mapping[str, Floats]], Mapping[str, Floats]]
"""(end's name, case, arrays) to outputs by name: ``y``, ``final 0``, ..."""


def inputs(case: Case, family: str) -> tuple[Floats, tuple[Floats, ...]]:
    """Return the random x (T, B, D) and states on which layers are compared."""
    x = case.normal("x", (case.T, case.B, case.D))
    widths = (case.P or case.H, case.H)[: 2 if family == "lstm" else 1]
    shape = (case.layers * case.directions, case.B)
    return x, tuple(case.normal(f"state {k}", (*shape, w), 0.5) for k, w in enumerate(widths))


def verify(source: str, target: str, done: Conversion, run: Run) -> Ledger:
    """Run both ends and hold them to the reference with the source's parameters.

    Raises Mismatch where one is off, Undecided where no result could be; ValueError if the
    reference has no cell for the function. The target may round its own parameters, and then
    itself: its bound is that of both.
    """
    case = replace(done.case, state=True)
    ledger = Ledger(share=1e-2)
    wanted = _expected(case, done.source, done.given)
    own = _expected(replace(case, bias=True), done.target, done.result)
    for name, want in (*wanted.items(), *own.items()):
        if not _tells(want):
            raise Undecided(f"{name}: with such weights rounding alone allows any result")
    first = run(source, case, done.given)
    second = run(target, replace(case, bias=True), done.result)
    for name, want in wanted.items():
        ledger.compare(f"{source}: {name}", first[name], want)
        bound = Bounded(want.value, want.bound + own[name].bound, ARITHMETICS[case.dtype])
        ledger.compare(f"{target}: {name}", second[name], bound)
    ledger.assert_within()
    return ledger


def _tells(want: Bounded) -> bool:
    """Whether some result would be outside of the bounds: at least one of nothing but zeros."""
    scale, bound = float(np.max(np.abs(want.value))), float(np.median(want.bound))
    return bound < scale or bound == scale == 0


def _expected(case: Case, c: Convention, arrays: Mapping[str, Floats]) -> dict[str, Bounded]:
    if c.cell is None:
        raise ValueError("the reference has no cell for this function")

    def exact(array: Floats) -> Bounded:
        return Bounded.exact(array, ARITHMETICS[case.dtype])

    x, state = inputs(case, c.family)
    p = ConventionMap(c, case).to_reference({name: exact(a) for name, a in arrays.items()})
    layer = Layer(cell_named(c.cell), case.sizes, case.layers, case.bidirectional)
    output = layer.forward(p, exact(x), tuple(map(exact, state)))
    return {"y": output.y} | {f"final {k}": s for k, s in enumerate(output.final)}


def read(path: Path) -> dict[str, Floats]:
    """Read a safetensors or an ``.npz`` file: plain numbers, nothing of which is run.

    Unfit says what is wrong.
    """
    if not path.is_file():
        raise Unfit(f"{path}: there is no such file")
    if path.suffix == ".npz":
        return _read_npz(path)
    safetensors = _safetensors()
    if path.stat().st_size > LARGEST_FILE:
        raise Unfit(f"{path}: larger than {LARGEST_FILE} bytes")
    tensors: dict[str, Floats] = {}
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            if len(names) > MOST_ARRAYS:
                raise Unfit(f"{path}: more than {MOST_ARRAYS} arrays")
            for name in names:
                dtype = file.get_slice(name).get_dtype()
                if dtype not in DTYPES:
                    raise Unfit(f"{path}: {name} is {dtype}; expected one of {', '.join(DTYPES)}")
                tensors[name] = file.get_tensor(name)
    except (safetensors.SafetensorError, OSError) as error:
        raise Unfit(f"{path}: is no safetensors file ({error})") from error
    return tensors


def _read_npz(path: Path) -> dict[str, Floats]:
    try:
        arrays = read_npz(path)
    except ValueError as error:
        raise Unfit(f"{path}: is no .npz file of numbers ({error})") from error
    for name, array in arrays.items():
        if str(array.dtype) not in DTYPES.values():
            known = ", ".join(DTYPES.values())
            raise Unfit(f"{path}: {name} is {array.dtype}; expected one of {known}")
    return arrays


def write(path: Path, arrays: Mapping[str, Floats]) -> None:
    """Write a safetensors file."""
    _safetensors()
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, path)


def _safetensors() -> Any:
    try:
        import safetensors
    except ImportError as error:
        message = "safetensors is not installed; install it with: pip install 'gatewise[convert]'"
        raise Unfit(message) from error
    return safetensors
