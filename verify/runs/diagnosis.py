"""A diagnosis, as data: it travels between processes and into run files as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Explanation:
    """One mistake, or two, that does exactly what the subject did.

    ``ids`` are the catalogue's, ``statements`` what is wrong, ``fixes`` what to do instead.
    ``variant``: it is no mistake, but another cell or arithmetic, and right in its own terms.
    """

    ids: tuple[str, ...]
    statements: tuple[str, ...]
    fixes: tuple[str, ...]
    variant: bool = False

    @property
    def name(self) -> str:
        """Its ids."""
        return " + ".join(self.ids)


@dataclass(frozen=True)
class Location:
    """Where a layer is wrong.

    ``part``: ``outputs``, ``gradients``, ``tangents`` (derivatives in forward mode), ``training``,
    ``calls`` (a call alone is right, but not what calls do to each other or to their arguments),
    ``program`` (it raised, or its process ended).
    ``needs`` are the options without which the mistake does not show, ``quantities`` what is off,
    ``place`` the first wrong entry, ``from_size`` from which size on, "" if from the smallest.
    """

    part: str = ""
    needs: tuple[str, ...] = ()
    quantities: tuple[str, ...] = ()
    place: str = ""
    from_size: str = ""

    def __str__(self) -> str:
        needs = f"; only with {', '.join(self.needs)}" if self.needs else ""
        off = f" ({', '.join(self.quantities)})" if self.quantities else ""
        place = f"; first: {self.place}" if self.place else ""
        size = f"; {self.from_size}" if self.from_size else ""
        return f"{self.part}{off}{needs}{place}{size}"


@dataclass
class Diagnosis:
    """What is wrong with a subject in one dtype, as far as it could be found out.

    ``status``: ``conforms``, ``explained`` or ``unexplained``. All ``explanations`` compute the
    same in every experiment. ``residual`` is how far off they are, ``runner_up`` how far off the
    nearest of the ``tried`` others is (at least: the search stops at the first number that
    refutes one), both in units of what rounding explains. ``notes`` are further sentences, shown
    after the explanation; ``complete``: the search was not stopped for time. ``roots`` are the
    checks that show each cause, where there are several.
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
    notes: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """What is wrong, in a sentence or two."""
        if self.explanations:
            return " ".join(self.explanations[0].statements)
        return self.message
