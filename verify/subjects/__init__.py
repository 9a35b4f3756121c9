"""Subjects: the implementations that gatewise compares with the reference.

A SUBJECT is the name of an adapter in ``frameworks`` (``torch:LSTM``), a name that an installed
package registers, ``recording:DIR``, ``path/to/file.py:Name`` or ``package.module:Name``. Commands
that take several subjects also take ``FAMILY:*``, all subjects of a family (``onnxruntime:*``).
``protocol`` defines the interface of an adapter; ``torch_like``, ``explicit`` and ``declared``
take users' code that has no adapter.
"""

from __future__ import annotations

import re
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
from .loader import PROGRAMS, UnknownSubject
from .protocol import Loadable, Subject

SCHEMES: dict[str, Callable[[str], Subject]] = {}
"""Functions that return a subject, by the word before the colon of its name: ``mutant:G01``.

``execution.schemes`` fills the table, since subjects cannot import mutants or recordings.
"""

FILES: dict[str, Callable[[str], Subject]] = {}
"""Functions that return a subject of a model file, by the file's suffix (``.onnx``).

A name may add a part of the file after ``#``. ``execution.schemes`` fills the table.
"""

FORM = "form:"
"""The prefix of a form's name in the argument ``like``."""

LIKE = tuple(f"torch.nn.{kind}{cell}" for cell in ("", "Cell") for kind in ("LSTM", "GRU", "RNN"))
"""The classes of torch.nn that a user's class may replace."""

DEVICE = r"cpu|(cuda|xpu|mps)(:\d+)?"
"""The names of devices on which modules and functions of torch can be checked."""

NO_DEVICE = (
    "subject {!r}: --device is for modules and functions of PyTorch's of your own: a class with "
    "--like torch.nn.LSTM or kernelbench:35, or with gradient = 'torch'"
)

OWN_CELL = "gatewise."
"""The prefix of a cell's name in the argument ``like``, for code that does not name its cell."""


@cache
def adapters(family: str) -> dict[str, Subject]:
    """Return the adapters' subjects of a family by name; {} for an unknown family."""
    if family not in families():
        return {}
    return dict(sorted((subject.name, subject) for subject in families()[family].subjects()))


def adapter(name: str) -> Subject | None:
    """Return the adapter's subject of this name, or None; import its family's file."""
    return adapters(family(name)).get(name)


def subjects() -> dict[str, Subject]:
    """Return all adapters' subjects by name, without importing the adapted packages."""
    pairs = (subject for family in families() for subject in adapters(family).items())
    return dict(sorted(pairs))


def is_problem(like: str | None) -> bool:
    """Whether ``like`` names a problem of KernelBench."""
    return like is not None and like.startswith(BENCH)


def require_like(like: str | None, forbid: str = "") -> None:
    """Raise UnknownSubject unless ``like`` names a class of torch, a cell, a form or a problem.

    ``forbid`` is allowed for submissions to a problem alone.
    """
    like = like or ""
    if is_problem(like):
        problem_named(like)
        return
    if like.startswith(FORM):
        _require_form(like.removeprefix(FORM))
        return
    if like.startswith(OWN_CELL):
        if like.removeprefix(OWN_CELL) not in cells():
            choices = ", ".join(cells())
            raise UnknownSubject(f"--like {like}: expected {OWN_CELL} and one of {choices}")
    elif like and like not in LIKE:
        hint = f"; of a cell of that name: --like {OWN_CELL}{like}" if like in cells() else ""
        raise UnknownSubject(
            f"--like {like}: expected one of {', '.join(LIKE)}, a cell, {OWN_CELL}gla, or a "
            f"problem, {BENCH}35{hint}"
        )
    if forbid:
        raise UnknownSubject(f"--forbid is for submissions to a problem: --like {BENCH}35")


def require_device(device: str, names: Iterable[str] = ()) -> None:
    """Raise UnknownSubject unless there is such a device, and subjects may compute on it.

    Those that an adapter, a file or another program computes have a place of their own.
    """
    if device == "cpu":
        return
    if not re.fullmatch(DEVICE, device):
        raise UnknownSubject(f"--device {device}: expected cpu, cuda, xpu or mps, or cuda:1")
    for name in names:
        if family(name) in (*SCHEMES, PROGRAMS) or model_file(name) or adapter(name):
            raise UnknownSubject(NO_DEVICE.format(name))


def _require_on_device(value: Any, name: str, like: str | None, device: str) -> None:
    """Raise UnknownSubject unless an object computes with torch's tensors, on such a device.

    SubjectUnavailable if PyTorch cannot compute on it here.
    """
    from . import torch_module
    from .declared import declaration_of
    from .given_arrays import takes_given_arrays

    if like:
        in_torch = isinstance(value, type) or not is_problem(like)
    else:
        declaration = value if takes_given_arrays(value) else declaration_of(value, name)
        in_torch = getattr(declaration, "gradient", "") == "torch"
    if not in_torch:
        raise UnknownSubject(NO_DEVICE.format(name))
    torch_module.require_device(device)


def _with_cell(value: Any, cell: str) -> Any:
    """Return a class, an object or a function with the attribute ``cell`` added."""
    if isinstance(value, type):
        return type(value.__name__, (value,), {"cell": cell, "__module__": value.__module__})
    forward = getattr(value, "forward", value)
    names = ("axes", "gradient", "vjp", "dtypes", "form", "forms")
    attributes = {n: getattr(value, n) for n in names if hasattr(value, n)}
    return SimpleNamespace(**attributes, cell=cell, forward=forward)


def subject_named(
    name: str,
    like: str | None = None,
    forbid: str = "",
    quantised: object = "",
    on_import: Callable[[], None] = lambda: None,
    device: str = "cpu",
) -> Subject:
    """Return the subject of this name; UnknownSubject if there is none.

    ``quantised`` is the arithmetic of its bounds, "" for the one that the subject declares.
    ``device`` is where a module of the user's computes.
    ``forbid`` lists, separated by commas, what a submission to a problem must not use.
    ``on_import`` is called after the user's code is imported, before it first runs.
    """
    if like is not None and like.startswith(FORM):
        plain = subject_named(name, None, forbid, quantised, on_import, device)
        return in_form(plain, like.removeprefix(FORM))
    require_device(device, [name])
    subject, declared = _named(name, like, forbid, on_import, device)
    declared_arithmetic = getattr(declared, "quantised", "")
    if not (quantised or declared_arithmetic):
        return subject
    from .quantised import in_arithmetic

    return in_arithmetic(subject, quantised or declared_arithmetic)


def _named(
    name: str, like: str | None, forbid: str, on_import: Callable[[], None], device: str
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
        like = like or getattr(value, "like", None)
        subject = adapted(value, name, like, lines, forbid, device)
        return subject, value
    loader.refuse_data(name)
    if not loader.is_file(name) and (":" not in name or family(name) in families()):
        module, _, last = name.rpartition(".")
        meant = f"; a class of a module is {module}:{last}" if module.isidentifier() else ""
        alternatives = _alternatives(name)
        raise UnknownSubject(f"subject {name!r} is not known; there are {alternatives}{meant}")
    loaded = loader.load(name)
    on_import()
    like = like or getattr(loaded.value, "like", None) or _inherited(loaded.value)
    subject = adapted(loaded.value, name, like, loaded.import_lines, forbid, device)
    return subject, loaded.value


def model_file(name: str) -> str:
    """Return the suffix of the model file that a subject's name names; "" if it names none."""
    return next((s for s in FILES if name.endswith(s) or f"{s}#" in name), "")


def _require_form(name: str) -> None:
    try:
        form_named(name)
    except InputError as error:
        raise UnknownSubject(f"--form: {error}") from error


def in_form(subject: Subject, name: str) -> Subject:
    """Return the subject in a form (``chunk:64``); UnknownSubject if it has no such form."""
    from .given_arrays import GivenArrays

    if not isinstance(subject, GivenArrays):
        raise UnknownSubject(
            f"subject {subject.name!r}: --form is for layers that take the arrays of a cell which "
            "is given its gates"
        )
    return subject.in_form(name)


def _inherited(value: Any) -> str | None:
    """Return the class of torch.nn from which a class derives, or None."""
    if not isinstance(value, type) or loader.says_its_cell(value):
        return None
    names = (f"torch.nn.{base.__name__}" for base in value.__mro__
             if base.__module__ == "torch.nn.modules.rnn")  # fmt: skip
    return next((name for name in names if name in LIKE), None)


def known(*families_wanted: str) -> list[str]:
    """Return the sorted names of adapters and registered subjects, of these families or of all."""
    names = [name for member in families_wanted or families() for name in adapters(member)]
    registered = loader.registered()
    others = (n for n in registered if not families_wanted or family(n) in families_wanted)
    return [*sorted(names), *sorted(others)]


def family(name: str) -> str:
    """Return the part of a subject's name before the colon."""
    return name.partition(":")[0]


def expanded(names: Iterable[str]) -> list[str]:
    """Return the names without repetitions, with wildcards and folders expanded.

    ``FAMILY:*`` stands for the known subjects of a family; a folder, or a path with ``*``, ``?`` or
    ``[...]``, before the colon or alone, for its Python files.
    """
    unique: dict[str, None] = {}
    for name in names:
        if several := loader.files(name):
            unique |= dict.fromkeys(several)
            continue
        members = known(family(name)) if name == f"{family(name)}:*" else [name]
        if not members:
            raise UnknownSubject(
                f"{name}: there is no family {family(name)!r}; there are {_alternatives(name)}"
            )
        unique |= dict.fromkeys(members)
    return list(unique)


def _alternatives(name: str) -> str:
    """Return the subjects of the name's family, or all families where there is none such."""
    members = known(family(name)) if ":" in name else []
    all_families = dict.fromkeys([*families(), *map(family, sorted(loader.registered()))])
    return ", ".join(members or (f"{name_of_family}:*" for name_of_family in all_families))


def adapted(
    value: Any,
    name: str,
    like: str | None,
    import_lines: str = "",
    forbid: str = "",
    device: str = "cpu",
) -> Subject:
    """Return an object as a subject on a device, by the first form of code that it fits.

    The forms are a cell of gatewise, a submission to a problem, torch's interface, an adapter,
    named arrays of a cell, a declaration, and ``cell`` with ``forward``.
    """
    require_like(like, forbid)
    if like is not None and like.startswith(OWN_CELL):
        value, like = _with_cell(value, like.removeprefix(OWN_CELL)), None
    if device != "cpu":
        require_device(device)
        _require_on_device(value, name, like, device)
    if like is not None:
        if is_problem(like):
            from .kernel import kernel

            return kernel(value, name, like, [part for part in forbid.split(",") if part], device)
        from .torch_like import torch_like

        return torch_like(value, name, like, import_lines, device)
    if hasattr(value, "parameter_map"):
        subject: Subject = value() if isinstance(value, type) else value
        return subject
    from .declared import declaration_of, declared
    from .given_arrays import given_arrays, takes_given_arrays

    if takes_given_arrays(value):
        return given_arrays(value, name, import_lines, device)
    if declaration := declaration_of(value, name):
        return declared(value, name, declaration, import_lines, device)
    if loader.says_its_cell(value) and hasattr(value, "forward"):
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
    """Return a clause that names the classes of torch that a module can replace; "" for none."""
    bases = value.__mro__ if isinstance(value, type) else ()
    if not any(base.__module__ == "torch.nn.modules.module" for base in bases):
        return ""
    from .torch_like import fitting

    return " or ".join(fitting(value, name))
