"""A diagnosis, as data: it travels between processes and into run files as JSON."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..typed import typed
from .location import Location

if TYPE_CHECKING:
    from .explaining import Search
    from .hypotheses import Hypothesis


@dataclass(frozen=True)
class Explanation:
    """One mistake, or two, that does exactly what the subject did.

    ``ids`` are the catalogue's, ``statements`` what is wrong, ``fixes`` what to do instead.
    """

    ids: tuple[str, ...]
    statements: tuple[str, ...]
    fixes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its ids."""
        return " + ".join(self.ids)

    @classmethod
    def of(cls, hypothesis: Hypothesis) -> Explanation:
        """Return what a hypothesis says."""
        return cls(hypothesis.ids, hypothesis.statements, tuple(filter(None, hypothesis.fixes)))


@dataclass
class Diagnosis:
    """What is wrong with a subject in one dtype, as far as it could be found out.

    ``status``: ``conforms``, ``explained`` or ``unexplained``. All ``explanations`` compute the
    same in every experiment. ``residual`` is how far off they are, ``runner_up`` how far off the
    nearest of the ``tried`` others is (at least: the search stops at the first number that
    refutes one), both in units of what rounding explains.
    """

    subject: str
    dtype: str
    status: str = "conforms"
    failed: tuple[str, ...] = ()
    explanations: list[Explanation] = field(default_factory=list)
    location: Location = field(default_factory=Location)
    reach: str = ""
    residual: float = 0.0
    runner_up: float | None = None
    runner_up_name: str = ""
    tried: int = 0
    complete: bool = True
    experiments: int = 0
    message: str = ""

    @property
    def headline(self) -> str:
        """What is wrong, in a sentence or two."""
        if self.explanations:
            return " ".join(self.explanations[0].statements)
        return self.message

    def take(self, search: Search) -> None:
        """Take over what a search found."""
        self.status = "explained" if self.explanations else "unexplained"
        self.residual, self.tried, self.complete = search.residual, search.tried, search.complete
        if search.runner_up < sys.float_info.max:
            self.runner_up, self.runner_up_name = search.runner_up, search.runner_up_name
        if not self.explanations:
            time = "" if search.complete else ", in the time there was"
            self.message = f"no known mistake explains this, nor two together{time}"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any], where: Path | str = "diagnosis") -> Diagnosis:
        """Read what to_json wrote; RunFileError where it is something else."""
        return typed(cls, value, where)
