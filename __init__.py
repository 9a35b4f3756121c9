"""gatewise: is this recurrent layer right, and if not, what exactly is wrong with it?

>>> import gatewise, numpy
>>> layer = gatewise.Layer(gatewise.cell_named("lstm"), gatewise.Sizes(D=3, H=4))
>>> p = layer.random_parameters(numpy.random.default_rng(0))
>>> layer.forward(p, numpy.ones((5, 2, 3))).y.shape
(5, 2, 4)

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .reference.cells import cell_named, cells
    from .reference.documents import examples
    from .reference.equation import equations
    from .reference.errors import InputError
    from .reference.layer import Layer
    from .reference.parameters import Parameters, Sizes
    from .verify.api import check, convert
    from .verify.numbers.bounded import Bounded
    from .verify.pytest_plugin import conforms
    from .verify.subjects.declared import subject

_HOMES = {
    "Bounded": ".verify.numbers.bounded",
    "InputError": ".reference.errors",
    "Layer": ".reference.layer",
    "Parameters": ".reference.parameters",
    "Sizes": ".reference.parameters",
    "cell_named": ".reference.cells",
    "cells": ".reference.cells",
    "equations": ".reference.equation",
    "examples": ".reference.documents",
    "check": ".verify.api",
    "conforms": ".verify.pytest_plugin",
    "convert": ".verify.api",
    "subject": ".verify.subjects.declared",
}

__all__ = [
    "Bounded",
    "InputError",
    "Layer",
    "Parameters",
    "Sizes",
    "cell_named",
    "cells",
    "check",
    "conforms",
    "convert",
    "equations",
    "examples",
    "subject",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its home."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return __all__
