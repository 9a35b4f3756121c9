"""Convert a layer's parameters between the arrays of frameworks, and verify the result.

Files hold arrays under the framework's own names, see ``Stored``. Sizes, layers and directions are
read from names and shapes; missing, superfluous or misshapen arrays are errors.
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
"""Bytes; layers of at most 4096 units are smaller."""

MOST_ARRAYS = 4096
DTYPES = {"F32": "float32", "F64": "float64"}


@dataclass(frozen=True)
class End:
    """One end of a conversion: its convention, file layout, options and dtypes."""

    name: str
    convention: Convention
    stored: Stored = field(default_factory=Stored)
    options: Options = field(default_factory=Options)
    dtypes: tuple[str, ...] = ("float64", "float32")

    @property
    def arrays(self) -> list[str]:
        """The names of all arrays that its files may hold for a pass."""
        projected = [] if self.convention.projected else ["weight_hr"]
        return [*(packed.name for packed in self.convention.arrays()), *projected]


@dataclass(frozen=True)
class Conversion:
    """The arrays of both ends, by the conventions' names, and a case of their sizes."""

    case: Case
    source: Convention
    target: Convention
    arrays: Mapping[str, Floats]
    result: Mapping[str, Floats]


def convert(source: End, target: End, arrays: Mapping[str, Floats]) -> Conversion:
    """Convert the arrays of a file of the source; raise NoHome or Unfit if that is impossible."""
    convention, case, originals = infer(source, arrays)
    missing = [o for o in target.options.lacking(replace(case, T=1, B=1, bias=True)) if o in (
        "layers", "bidirectional", "projection")]  # fmt: skip
    if missing:
        raise NoHome(f"{target.name}: {target.options.why(tuple(missing))}")
    aim = replace(target.convention, projected=convention.projected)
    return Conversion(
        case, convention, aim, originals, translated(convention, aim, case, originals)
    )


def infer(end: End, arrays: Mapping[str, Floats]) -> tuple[Convention, Case, dict[str, Floats]]:
    """Return the convention, a case of the arrays' sizes, and the arrays by the convention's names.

    The convention has no biases if the file has none.
    """
    c = end.convention
    arrays = dict(in_full(end, arrays))
    named, extra = end.stored.from_file(end.arrays, arrays)
    if "weight_hr_l0" in named and c.family == "lstm":
        c = replace(c, projected=True)
    if not any(f"{p.name}_l0" in named for p in c.arrays() if "bias" in p.name):
        c = replace(c, bias=())
    case = replace(_case(end, c, named, arrays), bias=c.bias == end.convention.bias)
    labels = {}
    for name, shape in stored_shapes(c, case).items():
        label = labels[name] = end.stored.label(name, both=case.bidirectional)
        if name not in named:
            raise Unfit(f"{label} {list(shape)} is missing: there are {_some(arrays)}")
        if named[name].shape != shape:
            raise Unfit(f"{label}: expected shape {list(shape)}, got {list(named[name].shape)}")
        if named[name].dtype != case.dtype:
            raise Unfit(f"{label}: expected {case.dtype} like the others, got {named[name].dtype}")
        if not np.isfinite(named[name]).all():
            raise Unfit(f"{label}: holds numbers that are not finite")
    if extra := extra + [name for name in named if name not in labels]:
        expected = _some(labels.values())
        raise Unfit(f"{_some(extra)} belong to no array of {end.name}: expected {expected}")
    return c, case, {name: named[name] for name in labels}


BARE = ("kernel", "recurrent_kernel", "bias")
"""The names of arrays in Keras's layers and TensorFlow's cells, without a path."""


def in_full(end: End, arrays: Mapping[str, Floats]) -> Mapping[str, Floats]:
    """Return the arrays of one layer under the end's own names if all have ``BARE`` names."""
    bare = {name.rpartition("/")[2].removesuffix(":0"): array for name, array in arrays.items()}
    if len(bare) < len(arrays) or not bare or not {*bare} <= {*BARE}:
        return arrays
    stems = [packed.name for packed in end.convention.arrays()]
    weights = [stem for stem in stems if "bias" not in stem]
    biases = [stem for stem in stems if "bias" in stem]
    stem_of = dict(zip(BARE, weights, strict=False)) | dict(zip(BARE[2:], biases, strict=False))
    if len(weights) > 2 or not {*bare} <= {*stem_of}:
        return arrays
    file_names = {name: end.stored.file_name(f"{stem_of[name]}_l0") for name in bare}
    return (
        arrays
        if {*file_names.values()} & {*arrays}
        else {file_names[n]: a for n, a in bare.items()}
    )


def reading(end: End, arrays: Mapping[str, Floats]) -> str:
    """Return how arrays with bare names are read, "" if the names are the end's own."""
    if {*in_full(end, arrays)} == {*arrays}:
        return ""
    shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
    return f"{shapes}: read as one layer of {end.name} ({formula.summary(end.convention)})"


def fitting(ends: Iterable[End], arrays: Mapping[str, Floats]) -> list[End]:
    """Return the ends that can read these arrays."""
    fit = []
    for end in ends:
        with suppress(Unfit):
            infer(end, arrays)
            fit.append(end)
    return fit


def only(family: str, ends: Iterable[End], arrays: Mapping[str, Floats]) -> End:
    """Return the only end of a family that can read these arrays; raise Unfit if several can."""
    ends = list(ends)
    fit = fitting(ends, arrays)
    if not fit:
        names = ", ".join(end.name for end in ends)
        raise Unfit(f"{_some(arrays)} are no arrays of a layer of {family}: there are {names}")
    if len(fit) > 1:
        choices = "; ".join(
            f"--from {end.name} for {formula.summary(end.convention)}" for end in fit
        )
        raise Unfit(f"{_some(arrays)} may be several layers of {family}: give {choices}")
    return fit[0]


def _case(
    end: End, c: Convention, named: Mapping[str, Floats], arrays: Mapping[str, Floats]
) -> Case:
    first = c.arrays()[0]
    layers = [k for k in range(DEEPEST) if f"{first.name}_l{k}" in named]
    if not layers or layers[0]:
        label = end.stored.label(f"{first.name}_l0")
        raise Unfit(f"{label} is missing: there are {_some(arrays)}")
    D, H, P = _sizes(c, first.layout, end, named)
    for name, size in {"D": D, "H": H}.items():
        if not 1 <= size <= LARGEST_SIZE:
            raise Unfit(f"{name} = {size}: expected 1 to {LARGEST_SIZE}")
    bidirectional = f"{first.name}_l0_reverse" in named
    dtype = str(named[f"{first.name}_l0"].dtype)
    return Case(3, 2, D, H, P, max(layers) + 1, bidirectional, dtype=dtype)


def _sizes(
    c: Convention, layout: str, end: End, arrays: Mapping[str, Floats]
) -> tuple[int, int, int]:
    """Return D, H and P (0: none) from the shapes of the first layer's arrays."""
    name = f"{c.arrays()[0].name}_l0"
    shape, gates = arrays[name].shape, len(c.order)
    arrangement = LAYOUTS[layout]
    if len(shape) != (3 if arrangement.axis is None else 2):
        label = end.stored.label(name)
        raise Unfit(f"{label}: expected as many axes as {layout} has, got {list(shape)}")
    P = 0
    if c.projected:
        P = arrays["weight_hr_l0"].shape[0 if c.projection_turned else -1]
    block = list(shape if arrangement.axis is not None else shape[1:])
    if arrangement.axis is not None and not layout.startswith("separate"):
        block[arrangement.axis] //= gates
    D, H = arrangement.stored(tuple(block))
    return D - (P or H) if layout == "joint" else D, H, P


def _some(names: Any) -> str:
    first_names = ", ".join(sorted(names)[:6])
    return f"{first_names}, ..." if len(names) > 6 else first_names or "none"


Run = Callable[[str, Case, Mapping[str, Floats]], Mapping[str, Floats]]
"""A function of an end's name, a case and arrays; returns outputs: ``y``, ``final 0``, ..."""


def inputs(case: Case, family: str) -> tuple[Floats, tuple[Floats, ...]]:
    """Return random x (T, B, D) and states, the inputs of the comparison."""
    x = case.normal("x", (case.T, case.B, case.D))
    widths = (case.P or case.H, case.H)[: 2 if family == "lstm" else 1]
    shape = (case.layers * case.directions, case.B)
    return x, tuple(case.normal(f"state {k}", (*shape, w), 0.5) for k, w in enumerate(widths))


def verify(source: str, target: str, conversion: Conversion, run: Run) -> Ledger:
    """Run both ends and compare them with the reference with the source's parameters.

    Raise Mismatch if an end deviates, Undecided if rounding allows any result, ValueError if the
    reference has no cell for the function. The target may round its parameters as well as its
    results: its bound is the sum of both.
    """
    case = replace(conversion.case, state=True)
    ledger = Ledger(share=1e-2)
    of_source = _expected(case, conversion.source, conversion.arrays)
    of_target = _expected(replace(case, bias=True), conversion.target, conversion.result)
    for name, expected in (*of_source.items(), *of_target.items()):
        if not _is_sharp(expected):
            raise Undecided(f"{name}: with such weights rounding alone allows any result")
    first = run(source, case, conversion.arrays)
    second = run(target, replace(case, bias=True), conversion.result)
    for name, expected in of_source.items():
        ledger.compare(f"{source}: {name}", first[name], expected)
        bound = Bounded(
            expected.value, expected.bound + of_target[name].bound, ARITHMETICS[case.dtype]
        )
        ledger.compare(f"{target}: {name}", second[name], bound)
    ledger.assert_within()
    return ledger


def _is_sharp(expected: Bounded) -> bool:
    """Return whether a result of zeros would be outside of the bounds."""
    scale, bound = float(np.max(np.abs(expected.value))), float(np.median(expected.bound))
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
    """Read a safetensors or an ``.npz`` file, without running code; raise Unfit with a reason."""
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
        raise Unfit(f"{path}: not a safetensors file ({error})") from error
    return tensors


def _read_npz(path: Path) -> dict[str, Floats]:
    try:
        arrays = read_npz(path)
    except ValueError as error:
        raise Unfit(f"{path}: not an .npz file of numbers ({error})") from error
    for name, array in arrays.items():
        if str(array.dtype) not in DTYPES.values():
            dtypes = ", ".join(DTYPES.values())
            raise Unfit(f"{path}: {name} is {array.dtype}; expected one of {dtypes}")
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
