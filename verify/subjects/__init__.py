"""Subjects: the implementations that can be held against the reference, and the ways in.

A SUBJECT is a name of a file in ``frameworks`` (``torch:LSTM``), a name that an installed package
registers, ``recording:DIR``, ``path/to/file.py:Name`` or ``package.module:Name``; where several are
taken, ``FAMILY:*`` are all of a family (``onnxruntime:*``). See ``protocol`` for what an adapter
offers, ``torch_like`` and ``explicit`` for the two forms that need none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from types import SimpleNamespace
from typing import Any

from ...reference.cells import cells
from ...reference.errors import InputError
from ...reference.forms import form_named
from . import loader
from .frameworks import families
from .kernel_problems import BENCH, problem_named
from .loader import UnknownSubject
from .protocol import Loadable, Subject

SCHEMES: dict[str, Callable[[str], Subject]] = {}
"""What finds the subject by the word before its colon, where no adapter owns that: ``mutant:G01``.

``execution.schemes`` fills it: no subject knows mutants or recordings.
"""

FILES: dict[str, Callable[[str], Subject]] = {}
"""What finds the subject by what a file's name ends in, where a part of it may follow: ``.onnx``.

``execution.schemes`` fills it, too.
"""

PROGRAMS = "process"
"""What stands before the command of a program in any language."""

FORM = "form:"
"""What stands before the name of a form in the place of ``like``."""

LIKE = tuple(f"torch.nn.{kind}{cell}" for cell in ("", "Cell") for kind in ("LSTM", "GRU", "RNN"))
"""The classes in whose place one of a user's may stand."""

OWN_CELL = "gatewise."
"""What stands before a cell's name in the place of ``like``, for what does not say its cell."""


@cache
def adapters(family: str) -> dict[str, Subject]:
    """Return the adapters' subjects of a family by name; {} if there is none such."""
    if family not in families():
        return {}
    return dict(sorted((subject.name, subject) for subject in families()[family].subjects()))


def adapter(name: str) -> Subject | None:
    """Return the adapters' subject of this name, if there is one; imports its family's file."""
    return adapters(family(name)).get(name)


def subjects() -> dict[str, Subject]:
    """Return every adapter's subjects by name, without importing what they adapt."""
    every = (subject for family in families() for subject in adapters(family).items())
    return dict(sorted(every))


def is_problem(like: str | None) -> bool:
    """Whether a subject stands in the place of a benchmark's problem's model."""
    return like is not None and like.startswith(BENCH)


def require_like(like: str | None, forbid: str = "") -> None:
    """Raise UnknownSubject unless a subject may stand in this place: torch's class, or a problem.

    Only of a submission to a problem can be said what it must not use.
    """
    if like is not None and is_problem(like):
        problem_named(like)
        return
    if like is not None and like.startswith(FORM):
        _require_form(like.removeprefix(FORM))
        return
    if like is not None and like.startswith(OWN_CELL):
        _require_cell(like)
    elif like is not None and like not in LIKE:
        own = f"; of a cell of that name: --like {OWN_CELL}{like}" if like in cells() else ""
        raise UnknownSubject(
            f"--like {like}: expected one of {', '.join(LIKE)}, a cell, {OWN_CELL}gla, or a "
            f"problem, {BENCH}35{own}"
        )
    if forbid:
        raise UnknownSubject(f"--forbid is for submissions to a problem: --like {BENCH}35")


def _require_cell(like: str) -> None:
    if like.removeprefix(OWN_CELL) not in cells():
        raise UnknownSubject(f"--like {like}: expected {OWN_CELL} and one of {', '.join(cells())}")


def _of_cell(value: Any, cell: str) -> Any:
    """Return a class, an object or a function as what says that it computes a cell."""
    if isinstance(value, type):
        return type(value.__name__, (value,), {"cell": cell, "__module__": value.__module__})
    forward = getattr(value, "forward", value)
    kept = {n: getattr(value, n) for n in ("axes", "gradient", "vjp", "dtypes", "form", "forms")
            if hasattr(value, n)}  # fmt: skip
    return SimpleNamespace(**kept, cell=cell, forward=forward)


def subject_named(
    name: str,
    like: str | None = None,
    forbid: str = "",
    quantised: object = "",
    on_import: Callable[[], None] = lambda: None,
) -> Subject:
    """Return the subject that ``name`` stands for; UnknownSubject says why there is none.

    ``quantised`` is the arithmetic to which it is held, "" for that which it declares itself.
    ``forbid`` are what a submission to a benchmark's problem must not use, with commas between.
    ``on_import`` is called once a program of others is imported, before it is tried out.
    """
    if like is not None and like.startswith(FORM):
        plain = subject_named(name, None, forbid, quantised, on_import)
        return in_form(plain, like.removeprefix(FORM))
    subject, declared = _named(name, like, forbid, on_import)
    own = getattr(declared, "quantised", "")
    if not (quantised or own):
        return subject
    from .quantised import in_arithmetic

    return in_arithmetic(subject, quantised or own)


def _named(
    name: str, like: str | None, forbid: str, on_import: Callable[[], None]
) -> tuple[Subject, object]:
    """Return the subject of this name, and the object that may declare its arithmetic."""
    if subject := adapter(name):
        if like is not None:
            raise UnknownSubject(f"subject {name!r} is known; --like is for a class of your own")
        subject = subject.loaded() if isinstance(subject, Loadable) else subject
        return subject, subject
    if family(name) in SCHEMES:
        subject = SCHEMES[family(name)](name)
        return subject, subject
    if suffix := model_file(name):
        subject = FILES[suffix](name)
        return subject, subject
    if family(name) == PROGRAMS:
        from .program import program

        started = program(name, like)
        on_import()
        return started, None
    if name in loader.registered():
        value = loader.registered()[name].load()
        on_import()
        lines = "from {0.module} import {0.attr} as Layer\n".format(loader.registered()[name])
        subject = adapted(value, name, like or getattr(value, "like", None), lines, forbid)
        return subject, value
    loader.refuse_data(name)
    if not loader.is_file(name) and (":" not in name or family(name) in families()):
        module, _, last = name.rpartition(".")
        meant = f"; a class of a module is {module}:{last}" if module.isidentifier() else ""
        raise UnknownSubject(f"subject {name!r} is not known; there are {_there(name)}{meant}")
    loaded = loader.load(name)
    on_import()
    like = like or getattr(loaded.value, "like", None) or _inherited(loaded.value)
    subject = adapted(loaded.value, name, like, loaded.import_lines, forbid)
    return subject, loaded.value


def model_file(name: str) -> str:
    """Return what the name of a model's file ends in, of which a subject is a part; "" for none."""
    return next((s for s in FILES if name.endswith(s) or f"{s}#" in name), "")


def _require_form(name: str) -> None:
    try:
        form_named(name)
    except InputError as error:
        raise UnknownSubject(f"--form: {error}") from error


def in_form(subject: Subject, name: str) -> Subject:
    """Return a subject that computes in a form; UnknownSubject for one that cannot be held so."""
    from .given_arrays import GivenArrays

    if not isinstance(subject, GivenArrays):
        raise UnknownSubject(
            f"subject {subject.name!r}: --form is for layers that take the arrays of a cell which "
            "is given its gates"
        )
    return subject.in_form(name)


def _inherited(value: Any) -> str | None:
    """Return the class of torch that a class derives from, and so stands in the place of."""
    if not isinstance(value, type) or hasattr(value, "cell"):
        return None
    names = (f"torch.nn.{base.__name__}" for base in value.__mro__
             if base.__module__ == "torch.nn.modules.rnn")  # fmt: skip
    return next((name for name in names if name in LIKE), None)


def known(*wanted: str) -> list[str]:
    """Return the names that need no path, of these families or of all."""
    names = [name for each in wanted or families() for name in adapters(each)]
    others = (name for name in loader.registered() if not wanted or family(name) in wanted)
    return [*sorted(names), *sorted(others)]


def family(name: str) -> str:
    """Return what stands before the colon of a subject's name."""
    return name.partition(":")[0]


def expanded(names: Iterable[str]) -> list[str]:
    """Return the names, each once, with what stands for several replaced by all of them.

    ``FAMILY:*`` are the known subjects of a family; a folder, or a path with ``*``, ``?`` or
    ``[...]``, before the colon or alone are the Python files that are there.
    """
    every: dict[str, None] = {}
    for name in names:
        if several := loader.files(name):
            every |= dict.fromkeys(several)
            continue
        members = known(family(name)) if name == f"{family(name)}:*" else [name]
        if not members:
            raise UnknownSubject(
                f"{name}: there is no family {family(name)!r}; there are {_there(name)}"
            )
        every |= dict.fromkeys(members)
    return list(every)


def _there(name: str) -> str:
    """Return the subjects of the name's family, or all families where there is none such."""
    members = known(family(name)) if ":" in name else []
    every = dict.fromkeys([*families(), *map(family, sorted(loader.registered()))])
    return ", ".join(members or (f"{each}:*" for each in every))


def adapted(
    value: Any, name: str, like: str | None, import_lines: str = "", forbid: str = ""
) -> Subject:
    """Return the subject that an object is.

    An adapter, a torch-like class, a submission to a problem, or explicit gates.
    """
    require_like(like, forbid)
    if like is not None and like.startswith(OWN_CELL):
        value, like = _of_cell(value, like.removeprefix(OWN_CELL)), None
    if like is not None:
        if is_problem(like):
            from .kernel import kernel

            return kernel(value, name, like, [each for each in forbid.split(",") if each])
        from .torch_like import torch_like

        return torch_like(value, name, like, import_lines)
    if hasattr(value, "parameter_map"):
        subject: Subject = value() if isinstance(value, type) else value
        return subject
    from .declared import declaration_of, declared
    from .given_arrays import given_arrays, takes_given_arrays

    if takes_given_arrays(value):
        return given_arrays(value, name, import_lines)
    if declaration := declaration_of(value, name):
        return declared(value, name, declaration, import_lines)
    if hasattr(value, "cell") and hasattr(value, "forward"):
        from .explicit import explicit

        return explicit(value, name, import_lines)
    if like := _fits(value, name):
        raise UnknownSubject(f"subject {name!r}: say --like {like}, whose call it has")
    raise UnknownSubject(
        f"subject {name!r}: expected a class with cell and forward, or --like torch.nn.LSTM, GRU "
        f"or RNN, or a Cell of these, for one with torch's constructor and call, or --like "
        f"{BENCH}35 for a submission; gatewise cells lists the cells, and gatewise new CELL writes "
        "such a class"
    )


def _fits(value: Any, name: str) -> str:
    """Say in which classes' place of torch's a module may stand; "" if in none."""
    bases = value.__mro__ if isinstance(value, type) else ()
    if not any(base.__module__ == "torch.nn.modules.module" for base in bases):
        return ""
    from .torch_like import fitting

    return " or ".join(fitting(value, name))
