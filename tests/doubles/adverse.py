"""An arithmetic that errs the worst way, and modules of gatewise with one line changed."""

import importlib
import sys
import types
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from gatewise.reference.functions import sigmoid

ACTIVATION_UNITS = 8
"""Roundoffs that a sigmoid or tanh may be off; what README promises."""

EXACT = {np.negative, np.floor, np.absolute, np.positive}


class Adverse(np.ndarray):
    """Numbers whose every operation returns (exact)(1 + u δ), each δ in [-1, 1] chosen by us.

    ``deltas`` are consumed in the order of the operations; 0 where there are no more. Sums add one
    term after another, products of matrices round products and partial sums. Activations are off
    by 8 u δ. The dtype must be much finer than u.
    """

    roundoff: ClassVar[float] = 0.0
    deltas: ClassVar[np.ndarray] = np.zeros(0)
    count: ClassVar[int] = 0

    @classmethod
    @contextmanager
    def choosing(cls, roundoff, deltas):
        """Start with these δ; ``count`` says afterwards how many were needed."""
        cls.roundoff, cls.deltas, cls.count = roundoff, deltas, 0
        yield

    @classmethod
    def _delta(cls, shape):
        size = int(np.prod(shape))
        taken = np.zeros(size)
        chosen = cls.deltas[cls.count : cls.count + size]
        taken[: len(chosen)] = chosen
        cls.count += size
        return (cls.roundoff * taken).reshape(shape)

    @classmethod
    def _off(cls, exact):
        return exact * (1 + cls._delta(exact.shape))

    @classmethod
    def activated(cls, exact):
        """Return an activation, wrong by as much as is allowed."""
        return (exact + ACTIVATION_UNITS * cls._delta(exact.shape)).view(cls)

    def __array_ufunc__(self, ufunc, method, *inputs: Any, **options: Any):
        plain = [np.asarray(x) for x in inputs]
        cls = type(self)
        if ufunc is np.matmul:
            a, b = plain
            terms = np.moveaxis(a[..., None] * b[..., None, :, :], -2, 0)
            return cls._summed(cls._off(terms)).view(cls)
        if ufunc is np.add and method == "reduce":
            axis = options.get("axis", 0)
            total = cls._summed(np.moveaxis(plain[0], axis, 0))
            return (np.expand_dims(total, axis) if options.get("keepdims") else total).view(cls)
        result = getattr(ufunc, method)(*plain, **options)
        if ufunc in (np.tanh, np.sin, np.cos):
            return cls.activated(result)
        if result.dtype.kind != "f":
            return result
        return (result if ufunc in EXACT else cls._off(result)).view(cls)

    @classmethod
    def _summed(cls, terms):
        total = terms[0]
        for term in terms[1:]:
            total = cls._off(total + term)
        return total

    def __array_function__(self, function, types, args, options):
        result = super().__array_function__(function, types, args, options)
        floats = isinstance(result, np.ndarray) and result.dtype.kind == "f"
        return result.view(type(self)) if floats else result


@sigmoid.register
def _(s: Adverse):
    plain = np.asarray(s)
    return Adverse.activated(1 / (1 + np.exp(-plain)))


def worst_deltas(compute, roundoff):
    """Yield an entry's number and the whole result, with the δ that move this entry furthest.

    First up, then down; ``compute`` takes nothing and returns a flat array. The sign of the
    derivative in each δ decides; derivatives are taken with a roundoff that shows in the finer
    dtype.
    """
    with Adverse.choosing(roundoff, np.zeros(0)):
        exact = compute()
    needed = Adverse.count
    slopes = np.zeros((needed, exact.size))
    for k in range(needed):
        with Adverse.choosing(1e-7, np.eye(1, needed, k)[0]):
            slopes[k] = compute() - exact
    for j in range(exact.size):
        upwards = np.where(slopes[:, j] < 0, -1.0, 1.0)
        for direction in (upwards, -upwards):
            with Adverse.choosing(roundoff, direction):
                yield j, compute()


def doubled(text, marked, factor=2):
    """Return source in which the part between [[ and ]] is multiplied by a factor."""
    before, _, rest = marked.partition("[[")
    part, _, after = rest.partition("]]")
    old = f"{before}{part}{after}"
    assert text.count(old) == 1, f"{text.count(old)} times in the source, mend the entry: {old}"
    return text.replace(old, f"{before}{factor} * ({part}){after}")


def numbers(file="", marked="", factor=2):
    """Return ``arithmetic`` and ``bounded`` of verify/numbers in one namespace, one line changed.

    They are executed anew from their source and stand nowhere else; without arguments they are
    the package's own.
    """
    names = [f"gatewise.verify.numbers.{name}" for name in ("arithmetic", "bounded")]
    modules = [importlib.import_module(name) for name in names]
    if file:
        modules = _executed(names, modules, file, marked, factor)
    return types.SimpleNamespace(**{k: v for module in modules for k, v in vars(module).items()})


def _executed(names, modules, file, marked, factor):
    changed = []
    try:
        for name, module in zip(names, modules, strict=True):
            path = Path(module.__file__)
            text = path.read_text(encoding="utf-8")
            if path.name == file:
                text = doubled(text, marked, factor)
            fresh = types.ModuleType(name)
            fresh.__package__ = name.rpartition(".")[0]
            sys.modules[name] = fresh  # so that the second imports the first
            exec(compile(text, str(path), "exec"), vars(fresh))
            changed.append(fresh)
    finally:
        sys.modules.update(zip(names, modules, strict=True))
    return changed
