"""Sizes that are given, not drawn: a user's own, and large ones, which few cases have."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace

from hypothesis.strategies import SearchStrategy

from .case import Case


@dataclass(frozen=True)
class GivenSizes:
    """Steps, rows, widths of input and state, and layers; where one is not given, a small one."""

    T: int = 5
    B: int = 3
    D: int = 2
    H: int = 4
    layers: int = 1

    @classmethod
    def parse(cls, text: str) -> GivenSizes:
        """Read ``T=100,H=512``; a ValueError says what is wrong with other text."""
        names = [f.name for f in fields(cls)]
        values: dict[str, int] = {}
        for part in text.split(","):
            name, _, number = (word.strip() for word in part.partition("="))
            if name not in names or name in values or not (number.isascii() and number.isdecimal()):
                raise ValueError(f"sizes {text!r:.60}: expected numbers of {', '.join(names)}, as "
                                 f"in T=100,H=512")  # fmt: skip
            values[name] = int(number[:9])  # of more digits, too large all the same
        sizes = cls(**values)
        sizes.require()
        return sizes

    def require(self) -> None:
        """Raise ValueError for sizes that no case has."""
        if self.T < 1:
            raise ValueError("sizes: T: expected 1 or more")
        try:
            Case.from_json(Case(**asdict(self)).to_json())
        except ValueError as error:
            raise ValueError(str(error).replace("case: ", "sizes: ", 1)) from error

    def of(self, case: Case) -> Case:
        """Return a case in these sizes, with the options that it has as far as they fit."""
        sizes = asdict(self)
        given = replace(case, **sizes)
        if given.P >= given.H:
            given = replace(given, P=0)
        if given.layout == "unbatched":
            given = replace(given, B=1)
        return given

    def cases(self, drawn: SearchStrategy[Case]) -> SearchStrategy[Case]:
        """Draw as before, in these sizes."""
        return drawn.map(self.of)

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in asdict(self).items())


LARGE = (
    GivenSizes(T=2000, B=2, D=3, H=4),
    GivenSizes(T=2, B=2, D=300, H=5),
    GivenSizes(T=2, B=2, D=5, H=300),
    GivenSizes(T=2, B=300, D=3, H=5),
)
"""Each beyond what is drawn: many steps, inputs, units, rows."""
