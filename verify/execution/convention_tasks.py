"""Tasks on a subject's convention, done in the subject's process."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from ..cases.case import Case
from ..conventions.conversion import inputs
from ..conventions.file_layout import Stored
from ..identification.identification import identify
from ..identification.probe import Unreadable
from ..numbers.ledger import Mismatch
from ..subjects.called import NotOffered, SubjectCrashed, under_test
from ..subjects.protocol import Inputs, Subject, SubjectUnavailable


def identify_convention(subject: Subject, seed: int) -> dict[str, Any]:
    """Return a subject's identified convention as JSON values, or a ``problem``."""
    try:
        subject.version()
        return asdict(identify(subject, seed))
    except (SubjectUnavailable, SubjectCrashed, NotOffered, Mismatch, Unreadable) as error:
        return {"problem": str(error)}


def describe_for_conversion(subject: Subject) -> dict[str, Any]:
    """Return what a conversion needs of a subject, as JSON values, or a ``problem``."""
    convention = getattr(subject, "convention", None)
    if convention is None:
        return {"problem": "its adapter states no convention"}
    return {
        "convention": asdict(convention),
        "stored": asdict(getattr(subject, "stored", Stored())),
        "options": asdict(subject.options),
        "dtypes": subject.dtypes,
    }


def compute_outputs(subject: Subject, case: str, path: str) -> dict[str, Any]:
    """Run a subject on an ``npz`` file's arrays; write outputs beside it or return a problem.

    ``case`` is JSON.
    """
    parsed = Case.from_json(case)
    try:
        subject.version()
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        family = subject.cell(parsed).partition("-")[0]
        x, state = inputs(parsed, family)
        result = under_test(subject).build(parsed).forward(Inputs(arrays, x, state, None))
    except (SubjectUnavailable, SubjectCrashed, NotOffered, Mismatch) as error:
        return {"problem": str(error)}
    ends = {f"final {k}": s for k, s in enumerate(result.final)}
    np.savez(f"{path}.out.npz", **{"y": result.y, **ends})
    return {}
