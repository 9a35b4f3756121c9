"""The diagnosis of a subject as data, which is sent between processes and saved as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Explanation:
    """One mistake, or two together, that reproduce what the subject computed.

    ``ids`` are those of the catalogue; ``statements`` describe the mistakes, ``fixes`` the
    changes that correct them. ``variant``: the subject is no mistake, but another cell or
    arithmetic.
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
    """The part of a layer that is wrong.

    ``part``: ``outputs``, ``gradients``, ``tangents`` (derivatives in forward mode), ``training``,
    ``calls`` (a call alone is right, but not what calls do to each other or to their arguments),
    ``program`` (it raised, or its process ended).
    ``needs`` are the options without which the mistake does not show, ``quantities`` the wrong
    arrays, ``place`` the first wrong entry, ``from_size`` the smallest size that fails, "" if all.
    """

    part: str = ""
    needs: tuple[str, ...] = ()
    quantities: tuple[str, ...] = ()
    place: str = ""
    from_size: str = ""

    def __str__(self) -> str:
        needs = f"; only with {', '.join(self.needs)}" if self.needs else ""
        quantities = f" ({', '.join(self.quantities)})" if self.quantities else ""
        place = f"; first: {self.place}" if self.place else ""
        size = f"; {self.from_size}" if self.from_size else ""
        return f"{self.part}{quantities}{needs}{place}{size}"


@dataclass
class Diagnosis:
    """The explanation of a subject's failures in one dtype.

    ``status``: ``conforms``, ``explained`` or ``unexplained``. All ``explanations`` compute the
    same in every experiment. ``residual`` is their deviation from the subject, ``runner_up`` that
    of the nearest of the other mistakes (at least: the search stops at the first number that
    refutes one), both in units of what rounding explains; ``tried`` counts the mistakes.
    ``notes`` are further sentences, shown after the explanation; ``complete``: the search was not
    stopped for time. ``roots`` are the checks that show each cause, if there are several.
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
        """The first explanation in a sentence or two, or else the message."""
        if self.explanations:
            return " ".join(self.explanations[0].statements)
        return self.message
