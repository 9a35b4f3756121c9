"""The contenders by name."""

from __future__ import annotations

from functools import cache

from ...reference.errors import InputError
from ...verify.subjects import family, known, subject_named, subjects
from . import cuda, numpy_layers, torch_compiled, torch_layers
from .adapters import AdaptedContender
from .contender import Contender


@cache
def own() -> dict[str, Contender]:
    """Return the contenders that are timed natively, by name."""
    modules = (numpy_layers, torch_layers, torch_compiled, cuda)
    return {c.name: c for module in modules for c in module.CONTENDERS}


def contender_named(name: str, like: str | None = None) -> Contender:
    """Return the contender of a name: one of ``own``, or any subject of ``verify``.

    ``like`` is the torch class in whose place a user's own class stands; others need none.
    """
    if name in own():
        return own()[name]
    check_family(name)
    return AdaptedContender(name, subject_named(name, None if name in subjects() else like))


def check_family(name: str) -> None:
    """Raise InputError for a name that is none of a family that is only timed, as torch-native."""
    alike = [one for one in own() if family(one) == family(name)]
    if alike and name not in alike and family(name) not in map(family, known()):
        raise InputError("subject", f"one of {', '.join(alike)}", repr(name))


def expanded(names: tuple[str, ...]) -> list[str]:
    """Return names, each once, with FAMILY:* replaced by all of a family."""
    found: dict[str, None] = {}
    everyone = list(dict.fromkeys([*own(), *known()]))
    for name in names:
        of = family(name)
        alike = [one for one in everyone if family(one) == of] if name == f"{of}:*" else [name]
        if not alike:
            families = dict.fromkeys(f"{family(one)}:*" for one in everyone)
            raise InputError("subject", f"one of {', '.join(families)}", repr(name))
        found |= dict.fromkeys(alike)
    return list(found)
