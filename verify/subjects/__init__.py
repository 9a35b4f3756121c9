"""Subjects: the implementations that can be held against the reference, and the ways in.

A SUBJECT is a name of a file in ``frameworks`` (``torch:LSTM``), a name that an installed package
registers, ``recording:DIR``, ``path/to/file.py:Name`` or ``package.module:Name``; where several are
taken, ``FAMILY:*`` are all of a family (``onnxruntime:*``). See ``protocol`` for what an adapter
offers, ``torch_like`` and ``explicit`` for the two forms that need none.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from . import frameworks
from . import loader as loading
from .loader import UnknownSubject
from .protocol import Subject

SCHEMES: dict[str, Callable[[str], Subject]] = {}
"""What finds the subject by the word before its colon, where no adapter owns that: ``mutant:G01``.

``execution.schemes`` fills it: no subject knows mutants or recordings.
"""

LIKE = ("torch.nn.LSTM", "torch.nn.GRU", "torch.nn.RNN")


@cache
def subjects() -> dict[str, Subject]:
    """Return every adapter's subjects by name, without importing what they adapt."""
    found: dict[str, Subject] = {}
    for module in pkgutil.iter_modules(frameworks.__path__, prefix=f"{frameworks.__name__}."):
        for subject in getattr(importlib.import_module(module.name), "SUBJECTS", ()):
            found[subject.name] = subject
    return dict(sorted(found.items()))


def subject_named(name: str, like: str | None = None) -> Subject:
    """Return the subject that ``name`` stands for; UnknownSubject says why there is none."""
    if name in subjects():
        if like is not None:
            raise UnknownSubject(f"subject {name!r} is known; --like is for a class of your own")
        return subjects()[name]
    if family(name) in SCHEMES:
        return SCHEMES[family(name)](name)
    if name in loading.registered():
        value = loading.registered()[name].load()
        lines = "from {0.module} import {0.attr} as Layer\n".format(loading.registered()[name])
        return adapted(value, name, like or getattr(value, "like", None), lines)
    if name.endswith(".py"):
        raise UnknownSubject(f"subject {name!r}: name a class in it, as {name}:MyLSTM")
    if ":" not in name or family(name) in map(family, subjects()):
        raise UnknownSubject(f"subject {name!r} is not known; there are {_there(name)}")
    loaded = loading.load(name)
    like = like or getattr(loaded.value, "like", None)
    return adapted(loaded.value, name, like, loaded.import_lines)


def known() -> list[str]:
    """Return the names that need no path."""
    return [*subjects(), *sorted(loading.registered())]


def family(name: str) -> str:
    """Return what stands before the colon of a subject's name."""
    return name.partition(":")[0]


def expanded(names: Iterable[str]) -> list[str]:
    """Return the names, each once, with ``FAMILY:*`` replaced by all known subjects of a family."""
    found: dict[str, None] = {}
    for name in names:
        of = family(name)
        alike = [one for one in known() if family(one) == of] if name == f"{of}:*" else [name]
        if not alike:
            raise UnknownSubject(f"{name}: there is no family {of!r}; there are {_there(name)}")
        found |= dict.fromkeys(alike)
    return list(found)


def _there(name: str) -> str:
    """Return the subjects of the name's family, or all families where there is none such."""
    alike = [one for one in known() if family(one) == family(name) != name]
    return ", ".join(alike or dict.fromkeys(f"{family(one)}:*" for one in known()))


def adapted(value: Any, name: str, like: str | None, import_lines: str = "") -> Subject:
    """Return the subject that an object is: an adapter, a torch-like class, or explicit gates."""
    if like is not None:
        if like not in LIKE:
            raise UnknownSubject(f"--like {like}: expected one of {', '.join(LIKE)}")
        from .torch_like import torch_like

        return torch_like(value, name, like, import_lines)
    if hasattr(value, "to_reference"):
        subject: Subject = value() if isinstance(value, type) else value
        return subject
    if hasattr(value, "cell") and hasattr(value, "forward"):
        from .explicit import explicit

        return explicit(value, name, import_lines)
    raise UnknownSubject(
        f"subject {name!r}: expected a class with cell and forward, or --like torch.nn.LSTM, GRU "
        f"or RNN for one with torch's constructor, parameters and call"
    )
